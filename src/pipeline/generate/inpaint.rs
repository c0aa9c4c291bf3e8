//! Which part of a picture is made anew, and how it goes back into the picture.

use super::{
    error::GenerateError,
    pictures,
    request::{Content, Given, ImageToImage},
};
use crate::imaging::{
    GrayImage, Kernel, RgbImage, Window, blur, compose, cut,
    fill::fill,
    fit::{Fit, fit, fit_mask},
    mask::{crop_region, expand_crop_region, invert, overlay_opacity, resize_mask},
};

/// Where a picture is made anew.
#[derive(Debug)]
pub(super) struct Area {
    /// The mask in the size that is worked on.
    pub(super) work: GrayImage,
    /// Another mask for the latent picture and for what stands under the mask at first.
    latent: Option<GrayImage>,
    /// How much of the original covers the result.
    kept: GrayImage,
    /// The part of the picture that is worked on; all of it without one.
    region: Option<Window>,
}

impl Area {
    /// The area of a request, for pictures of this size. `None` where the mask is all black and only the
    /// part around it would be worked on.
    pub(super) fn of(
        request: &ImageToImage,
        mask: &Given<GrayImage>,
        picture: (u32, u32),
        how: Fit,
    ) -> Result<Option<Self>, GenerateError> {
        let mut mask = pictures::mask("mask", mask, request.rounds_mask)?;
        if request.inverts_mask {
            mask = invert(&mask);
        }
        let [across, down] = request.mask_blur;
        let blurred = |mask: &GrayImage| {
            let blurred = blur::gaussian_blur(mask, across, down);
            blurred.map_err(|error| GenerateError::field("mask_blur", error.to_string()))
        };
        let (width, height) = (request.common.width, request.common.height);
        let latent = request.latent_mask.as_ref().map(|given| {
            let mask = pictures::mask("latent_mask", given, request.rounds_mask)?;
            Ok::<_, GenerateError>(fit_mask(&mask, width, height, how))
        });
        let latent = latent.transpose()?;
        if !request.is_masked_area_only {
            let work = fit_mask(&blurred(&mask)?, width, height, how);
            return Ok(Some(Self {
                kept: overlay_opacity(&work),
                work,
                latent,
                region: None,
            }));
        }
        if mask.dimensions() != picture {
            mask = resize_mask(&mask, picture.0, picture.1, Kernel::Lanczos);
        }
        let mask = blurred(&mask)?;
        let Some(region) = crop_region(&mask, request.padding) else {
            return Ok(None);
        };
        let region = expand_crop_region(region, (width, height), picture);
        let part = GrayImage::from_fn(region.width, region.height, |x, y| {
            *mask.get_pixel(region.left + x, region.top + y)
        });
        Ok(Some(Self {
            work: fit_mask(&part, width, height, Fit::Continue),
            latent,
            kept: invert(&mask),
            region: Some(region),
        }))
    }

    /// Whether only a part of the picture is worked on.
    pub(super) fn is_part(&self) -> bool {
        self.region.is_some()
    }

    /// The part of a picture that is worked on, in the size of the work, and what stands under the mask.
    pub(super) fn prepare(&self, picture: &RgbImage, content: Content) -> RgbImage {
        let (width, height) = self.work.dimensions();
        let part = self.crop(picture, width, height);
        match content {
            Content::Original => part,
            _ => fill(&part, self.latent()),
        }
    }

    /// The part of a picture that is worked on, in this size.
    pub(super) fn crop(&self, picture: &RgbImage, width: u32, height: u32) -> RgbImage {
        let Some(region) = self.region else {
            return picture.clone();
        };
        fit(&cut(picture, region), width, height, Fit::Continue)
    }

    /// What a guiding network looks at: the same part of its own picture, which is brought to the size of
    /// the request's picture before.
    pub(super) fn crop_as(&self, picture: &RgbImage, size: (u32, u32)) -> RgbImage {
        let (width, height) = self.work.dimensions();
        self.crop(&fit(picture, size.0, size.1, Fit::Cut), width, height)
    }

    /// The mask for the latent picture.
    pub(super) fn latent(&self) -> &GrayImage {
        self.latent.as_ref().unwrap_or(&self.work)
    }

    /// The finished picture: what was made, in its place, with what is kept of the original over it.
    pub(super) fn lay_over(&self, original: &RgbImage, new: &RgbImage) -> RgbImage {
        match self.region {
            Some(region) => compose::paste_crop(original, new, region, &self.kept),
            None => compose::overlay(original, new, &self.kept),
        }
    }
}
