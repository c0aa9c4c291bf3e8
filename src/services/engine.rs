//! Which built-in engine works for a service.

use super::{
    error::{ServiceError, shortened},
    notes::Notes,
};
use crate::domain::Role;

/// An engine that a container's image stands for.
pub(super) struct ImageRole {
    /// Path of the image.
    pub field: String,
    pub role: Role,
}

/// The engine that an image address such as `registry/group/photog_pub:check.1.0.0.pub` stands
/// for.
pub(super) fn of_image(image: &str) -> Option<Role> {
    let image = image.split_once('@').map_or(image, |(name, _digest)| name);
    let start_of_name = image.rfind('/').map_or(0, |slash| slash + 1);
    // A colon before the last slash belongs to the registry's port.
    let (repository, tag) = match image[start_of_name..].split_once(':') {
        Some((_, tag)) => (&image[..image.len() - tag.len() - 1], tag),
        None => (image, ""),
    };
    match tag.split_once('.').map_or("", |(word, _)| word) {
        "check" => Some(Role::Check),
        "train" => Some(Role::Train),
        "infer" => Some(Role::Predict),
        _ if repository
            .split('/')
            .any(|part| part == "stable-diffusion-webui") =>
        {
            Some(Role::Sd)
        }
        _ => None,
    }
}

/// The role of a service: the one that is asked for, else the one of its images, else the one of
/// its name. A diffusion engine beside another engine serves that one.
pub(super) fn choose(
    explicit: Option<Role>,
    images: &[ImageRole],
    name: &str,
    notes: &mut Notes,
) -> Result<Role, ServiceError> {
    if let Some(role) = explicit {
        return Ok(role);
    }
    let (role, reason) = match (of_images(images)?, of_name(name)) {
        (Some(role), _) => (role, "by the image of a container"),
        (None, Some(role)) => (role, "by the name of the service"),
        (None, None) => {
            return Err(ServiceError::field(
                "metadata.photog_role",
                "neither an image nor the name says which engine is meant; write `check`, \
                 `train`, `predict`, `sd` or `echo`",
            ));
        }
    };
    notes.honour("metadata.photog_role", None, role.as_str(), reason);
    Ok(role)
}

fn of_images(images: &[ImageRole]) -> Result<Option<Role>, ServiceError> {
    let mut portrait = images.iter().filter(|image| image.role != Role::Sd);
    let Some(first) = portrait.next() else {
        return Ok(images.first().map(|image| image.role));
    };
    if let Some(other) = portrait.find(|image| image.role != first.role) {
        let reason = format!(
            "it stands for the engine `{}` and `{}` for `{}`; deploy two services",
            other.role.as_str(),
            shortened(&first.field),
            first.role.as_str(),
        );
        return Err(ServiceError::field(&other.field, reason));
    }
    Ok(Some(first.role))
}

fn of_name(name: &str) -> Option<Role> {
    const BEGINNINGS: [(&str, Role); 3] = [
        ("photog_check", Role::Check),
        ("photog_train", Role::Train),
        ("photog_pre", Role::Predict),
    ];
    BEGINNINGS
        .into_iter()
        .find_map(|(beginning, role)| name.starts_with(beginning).then_some(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_or_the_repository_of_an_image_chooses_the_engine() {
        for (image, role) in [
            (
                "registry.example:5000/group/photog_pub:check.1.0.0.pub",
                Some(Role::Check),
            ),
            ("photog_pub:train.1@sha256:00", Some(Role::Train)),
            ("example/portrait:infer.1.0.0", Some(Role::Predict)),
            (
                "registry.example/pai-eas/stable-diffusion-webui:3.2",
                Some(Role::Sd),
            ),
            ("stable-diffusion-webui", Some(Role::Sd)),
            ("registry.example:5000/group/photog_pub", None),
            ("check.example:5000/group/app:1", None),
            ("a:check", None),
            ("a:checks.1", None),
            ("my-stable-diffusion-webui:1", None),
            ("", None),
            (":", None),
        ] {
            assert_eq!(of_image(image), role, "{image}");
        }
    }
}
