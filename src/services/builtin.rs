//! The three service JSONs of the cloud's page on AI portraits, word for word.

/// Texts of the services that run when no other is named: `photog_check`, `photog_train_pmml` and
/// `photog_pre_pmml`.
pub const fn built_in() -> [&'static str; 3] {
    [
        include_str!("../../assets/services/photog_check.json"),
        include_str!("../../assets/services/photog_train_pmml.json"),
        include_str!("../../assets/services/photog_pre_pmml.json"),
    ]
}
