//! What to try a pack with: drawn people, templates for their portraits, and prompts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Pack;

/// The folder with a folder for each person.
const PEOPLE: &str = "people/";
/// The folder of the templates.
const TEMPLATES: &str = "templates/";
/// The file of the prompts, each a table `[[prompt]]`.
const PROMPTS: &str = "prompts.toml";

/// A person who can be trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What they are called, which is the name of their folder.
    pub name: String,
    /// Their photos, by the names of the files.
    pub photos: Vec<Picture>,
}

/// A file with a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Name of the file, with its ending.
    pub name: String,
    /// All that is in it.
    pub bytes: &'static [u8],
}

/// Words to make a picture from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What to call it.
    pub name: String,
    /// The prompt.
    pub text: String,
}

impl Pack {
    /// The people whose photos come with the pack, by their names.
    pub fn people(self) -> Vec<Person> {
        let grouped = by_folder(self.below(PEOPLE)).into_iter();
        let person = |(name, files): (String, Vec<String>)| Person {
            photos: self.pictures(&format!("{PEOPLE}{name}/"), files),
            name,
        };
        grouped.map(person).collect()
    }

    /// Pictures to make portraits from, by the names of the files.
    pub fn templates(self) -> Vec<Picture> {
        self.pictures(TEMPLATES, self.below(TEMPLATES))
    }

    /// Prompts in words that its networks have learned.
    pub fn prompts(self) -> Vec<Prompt> {
        let file = self.any_file(PROMPTS);
        let text = file.and_then(|file| std::str::from_utf8(file.bytes).ok());
        // The file is part of the program, and a test reads it.
        prompts(text.unwrap_or_default()).expect("the prompts that are built in are well-formed")
    }

    fn pictures(self, folder: &str, names: Vec<String>) -> Vec<Picture> {
        let picture = |name: String| {
            let file = self.any_file(&format!("{folder}{name}"))?;
            Some(Picture {
                name,
                bytes: file.bytes,
            })
        };
        names.into_iter().filter_map(picture).collect()
    }
}

/// Files by the folder in which they lie; what lies in none, or deeper, is left out.
fn by_folder(paths: Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        if let Some((folder, name)) = path.split_once('/')
            && !name.contains('/')
        {
            let files = folders.entry(folder.to_owned()).or_default();
            files.push(name.to_owned());
        }
    }
    folders
}

fn prompts(text: &str) -> Result<Vec<Prompt>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        prompt: Vec<Prompt>,
    }
    Ok(toml::from_str::<Document>(text)?.prompt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging;

    #[test]
    fn photos_are_grouped_by_their_people() {
        let paths = ["b/1.jpg", "a/2.jpg", "a/1.jpg", "readme.jpg", "a/b/c.jpg"];
        let grouped = by_folder(paths.map(str::to_owned).to_vec());
        let expected = [("a", vec!["2.jpg", "1.jpg"]), ("b", vec!["1.jpg"])];
        let shown: Vec<(&str, Vec<&str>)> = grouped
            .iter()
            .map(|(name, files)| (&**name, files.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_prompt_has_a_name_and_words() {
        let text = "[[prompt]]\nname = \"Snow\"\ntext = \"anna, in the snow\"\n";
        let [prompt] = &prompts(text).unwrap()[..] else {
            panic!("one was written");
        };
        assert_eq!(
            (&*prompt.name, &*prompt.text),
            ("Snow", "anna, in the snow")
        );
        assert!(prompts("[[prompt]]\nname = \"Snow\"\n").is_err());
    }

    #[test]
    fn the_demo_pack_comes_with_people_templates_and_prompts() {
        let people = Pack::Demo.people();
        assert_eq!(people.len(), 3);
        for person in &people {
            assert_eq!(person.photos.len(), 8, "{}", person.name);
        }
        let templates = Pack::Demo.templates();
        assert_eq!(templates.len(), 4);
        let photos = people.iter().flat_map(|person| &person.photos);
        for picture in photos.chain(&templates) {
            let decoded = imaging::decode(picture.bytes, &imaging::Limits::default());
            assert!(decoded.is_ok(), "{}", picture.name);
        }
        let prompts = Pack::Demo.prompts();
        assert!(prompts.len() >= 3);
        assert!(prompts.iter().all(|prompt| !prompt.text.is_empty()));
    }
}
