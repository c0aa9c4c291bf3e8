//! The answer to a request for pictures, as the web UI gives it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{
    Generated,
    error::GenerateError,
    infotext::{Infotext, KEY},
};
use crate::imaging::{
    RgbImage,
    png_text::{TextItem, write_png},
};

impl Generated {
    /// The pictures as PNG files with their texts inside.
    pub fn files(&self) -> Result<Vec<Vec<u8>>, GenerateError> {
        self.pictures
            .iter()
            .map(|(picture, text)| file(picture, text))
            .collect()
    }

    /// The answer: pictures in base64, the request, and a text of JSON that says how they were made.
    pub fn answer(self, files: &[Vec<u8>]) -> Value {
        let images: Vec<String> = if self.sends_pictures {
            let files = files.iter();
            files.map(|file| BASE64_STANDARD.encode(file)).collect()
        } else {
            Vec::new()
        };
        let mut answer = Map::new();
        answer.insert("images".to_owned(), json!(images));
        answer.insert("parameters".to_owned(), Value::Object(self.parameters));
        answer.insert("info".to_owned(), Value::String(self.info.to_string()));
        Value::Object(answer)
    }
}

fn file(picture: &RgbImage, text: &Infotext) -> Result<Vec<u8>, GenerateError> {
    let item = TextItem {
        key: KEY.to_owned(),
        text: text.to_text(),
    };
    write_png(picture, &[item]).map_err(|error| GenerateError::Fault(error.to_string()))
}
