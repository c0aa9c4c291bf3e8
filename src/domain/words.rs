//! The words of every portrait, which belong to an installation and not to a request.

/// What every portrait shall show, where nothing else is configured.
pub const PORTRAIT_PROMPT: &str = "portrait photo, detailed face, natural skin texture, clear eyes, \
    sharp focus, soft light, high quality";
/// What no portrait shall show, where nothing else is configured.
pub const PORTRAIT_NEGATIVE: &str = "blurry, deformed face, disfigured, crossed eyes, bad teeth, bad \
    anatomy, extra people, painting, drawing, text, watermark, low quality";

/// The words of every portrait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What every portrait shall show, behind the words of the person and of the request. LoRA tags
    /// mean something here.
    pub prompt: String,
    /// What no portrait shall show, behind the words of the request.
    pub negative: String,
}

impl Words {
    /// No words.
    pub fn none() -> Self {
        Self {
            prompt: String::new(),
            negative: String::new(),
        }
    }
}

impl Default for Words {
    fn default() -> Self {
        Self {
            prompt: String::from(PORTRAIT_PROMPT),
            negative: String::from(PORTRAIT_NEGATIVE),
        }
    }
}
