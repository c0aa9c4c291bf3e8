//! The services that run when no other is named: the three service JSONs of the cloud's page on AI
//! portraits, word for word, and the diffusion engine alone, in the same form.

/// Their texts: `photog_check`, `photog_train_pmml`, `photog_pre_pmml` and `photog_sd`.
pub const fn built_in() -> [&'static str; 4] {
    [
        include_str!("../../assets/services/photog_check.json"),
        include_str!("../../assets/services/photog_train_pmml.json"),
        include_str!("../../assets/services/photog_pre_pmml.json"),
        include_str!("../../assets/services/photog_sd.json"),
    ]
}
