//! Where a face looks, from its five points alone.
//!
//! The model behind it: eyes and corners of the mouth lie in one plane, the tip of the nose stands
//! out of it, and the picture is taken from far enough that distances do not matter. After levelling
//! the eyes, with `e` half the distance of the eyes, `l` the distance from the middle of the eyes to
//! the middle of the mouth, and `n` how far the nose stands out,
//!
//! - turning the head by `yaw` narrows the eyes to `e * cos(yaw)` and moves the nose sideways from
//!   the line between the two middles by `n * sin(yaw)`, so their ratio is `n / e * tan(yaw)`;
//! - nodding by `pitch` shortens the face to `l * cos(pitch)` and moves the nose along it by
//!   `n * sin(pitch)`, so its place between eyes (0) and mouth (1) moves by `n / l * tan(pitch)`.
//!
//! Both angles are estimates: faces differ in shape, and detectors put points of turned faces where
//! they were trained to.

use super::Points;

/// `n / e`. Checked against the other sign of turning, that the eyes come closer: on the test data,
/// this puts a three-quarter view (`p02/02`) at 53 degrees where the narrowing says 51, `p09/02` at
/// 36 and 36, and a pure profile (`profile_bw`) at 77 and 74. The generic head of many pose programs
/// has 0.8 too.
const NOSE_PER_HALF_EYES: f32 = 0.8;
/// `n / l`: the above times `e / l`, which is 0.52 in the middle of the 79 photos of known persons.
const NOSE_PER_LENGTH: f32 = 0.42;
/// Place of the nose between eyes and mouth of a level face: the middle of the same photos, in which
/// it goes from 0.51 for a raised chin (`p03/02`) to 0.68 for a lowered one (`p01/06`).
const NOSE_PLACE: f32 = 0.60;
/// Distance of the eyes over the width of the mouth in the template of aligned crops; brings both to
/// one measure.
const EYES_PER_MOUTH: f32 = 1.207;
/// Least distance, in pixels, that is divided by.
const LEAST: f32 = 1e-3;

/// Most degrees of yaw of a frontal face. On the test data the faces that look to the camera or
/// nearly so have up to 36 and the three-quarter views and profiles 53 and more.
const FRONTAL_YAW_MAX: f32 = 40.0;
/// Most degrees of pitch. No photo of the test data has more than 12, all of them faces that look to
/// the camera; beyond 30 the eyes are hidden below the brows, or the nose hides them.
const FRONTAL_PITCH_MAX: f32 = 30.0;
/// Most degrees of roll. A tilted head still looks to the camera, and photos of the test data have
/// up to 15; beyond 45 it is rather the photo that lies on its side.
const FRONTAL_ROLL_MAX: f32 = 45.0;

/// Where a face looks, in degrees.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pose {
    /// Turn of the eye line in the picture: 0 when level, above 0 when the eye on the right is lower.
    pub roll: f32,
    /// Turn of the head: above 0 towards the right side of the picture.
    pub yaw: f32,
    /// Nod of the head: above 0 upwards.
    pub pitch: f32,
}

impl Pose {
    /// Estimates the pose. All angles are finite, and those of finite points are meaningful as long
    /// as the points are not all in one place.
    pub fn of(points: &Points) -> Self {
        let [left_eye, right_eye, nose, left_mouth, right_mouth] = *points;
        let across = [right_eye[0] - left_eye[0], right_eye[1] - left_eye[1]];
        let length = across[0].hypot(across[1]).max(LEAST);
        let right = across.map(|part| part / length);
        let down = [-right[1], right[0]];
        // How far `to` is from `from` along an axis.
        let along = |axis: [f32; 2], from: [f32; 2], to: [f32; 2]| {
            (to[0] - from[0]) * axis[0] + (to[1] - from[1]) * axis[1]
        };
        let middle = |one: [f32; 2], other: [f32; 2]| [0, 1].map(|i| (one[i] + other[i]) / 2.0);

        let eyes = middle(left_eye, right_eye);
        let mouth = middle(left_mouth, right_mouth);
        let place = along(down, eyes, nose) / along(down, eyes, mouth).max(LEAST);
        let on_line = [0, 1].map(|i| eyes[i] + (mouth[i] - eyes[i]) * place);
        let mouth_width = along(right, left_mouth, right_mouth) * EYES_PER_MOUTH;
        let half_width = ((length + mouth_width) / 4.0).max(LEAST);
        let sideways = along(right, on_line, nose) / half_width;

        let degrees = |tangent: f32| {
            let angle = tangent.atan().to_degrees();
            if angle.is_finite() { angle } else { 90.0 }
        };
        let roll = across[1].atan2(across[0]).to_degrees();
        Self {
            roll: if roll.is_finite() { roll } else { 180.0 },
            yaw: degrees(sideways / NOSE_PER_HALF_EYES),
            pitch: degrees((NOSE_PLACE - place) / NOSE_PER_LENGTH),
        }
    }

    /// Whether the face looks to the camera, nearly enough for both eyes and both cheeks to be seen.
    pub fn is_frontal(&self) -> bool {
        self.yaw.abs() <= FRONTAL_YAW_MAX
            && self.pitch.abs() <= FRONTAL_PITCH_MAX
            && self.roll.abs() <= FRONTAL_ROLL_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head of the model in units of half the distance of the eyes, turned, nodded, and seen
    /// from afar: to the right, downwards, and to the viewer.
    fn seen(yaw: f32, pitch: f32) -> Points {
        let length = NOSE_PER_HALF_EYES / NOSE_PER_LENGTH;
        let mouth = 1.0 / EYES_PER_MOUTH;
        let head = [
            [-1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
            [0.0, NOSE_PLACE * length, NOSE_PER_HALF_EYES],
            [-mouth, length, 0.0],
            [mouth, length, 0.0],
        ];
        let (yaw, pitch) = (yaw.to_radians(), pitch.to_radians());
        head.map(|[x, y, z]| {
            let (x, z) = (x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin());
            let y = y * pitch.cos() - z * pitch.sin();
            [300.0 + 40.0 * x, 200.0 + 40.0 * y]
        })
    }

    #[test]
    fn one_angle_at_a_time_is_found_exactly() {
        for angle in [-70.0, -30.0, -5.0, 0.0, 10.0, 45.0_f32] {
            let turned = Pose::of(&seen(angle, 0.0));
            assert!((turned.yaw - angle).abs() < 0.01, "{turned:?}");
            assert!(
                turned.pitch.abs() < 0.01 && turned.roll.abs() < 0.01,
                "{turned:?}"
            );
            let nodded = Pose::of(&seen(0.0, angle));
            assert!((nodded.pitch - angle).abs() < 0.01, "{nodded:?}");
            assert!(
                nodded.yaw.abs() < 0.01 && nodded.roll.abs() < 0.01,
                "{nodded:?}"
            );
        }
    }

    #[test]
    fn a_tilted_face_has_the_same_yaw_and_pitch() {
        let level = seen(20.0, 0.0);
        let (sine, cosine) = 30.0_f32.to_radians().sin_cos();
        let tilted = level.map(|[x, y]| [x * cosine - y * sine, x * sine + y * cosine]);
        let (level, tilted) = (Pose::of(&level), Pose::of(&tilted));
        assert!((tilted.roll - 30.0).abs() < 0.01);
        assert!((tilted.yaw - level.yaw).abs() < 0.01);
        assert!((tilted.pitch - level.pitch).abs() < 0.01);
    }

    #[test]
    fn a_mirrored_face_looks_the_other_way() {
        let [left_eye, right_eye, nose, left_mouth, right_mouth] =
            seen(25.0, 0.0).map(|[x, y]| [-x, y]);
        let mirrored = Pose::of(&[right_eye, left_eye, nose, right_mouth, left_mouth]);
        assert!((mirrored.yaw + 25.0).abs() < 0.01);
    }

    #[test]
    fn only_faces_that_look_to_the_camera_are_frontal() {
        assert!(Pose::of(&seen(0.0, 0.0)).is_frontal());
        assert!(Pose::of(&seen(-25.0, 0.0)).is_frontal());
        assert!(!Pose::of(&seen(60.0, 0.0)).is_frontal());
        assert!(!Pose::of(&seen(0.0, 40.0)).is_frontal());
        let upside_down = seen(0.0, 0.0).map(|[x, y]| [-x, -y]);
        assert!(!Pose::of(&upside_down).is_frontal());
        assert!(!Pose::of(&[[f32::NAN; 2]; 5]).is_frontal());
    }

    proptest! {
        #[test]
        fn angles_are_always_finite(
            points in prop::array::uniform5([any::<f32>(), any::<f32>()]),
        ) {
            let Pose { roll, yaw, pitch } = Pose::of(&points);
            prop_assert!(roll.abs() <= 180.0 && yaw.abs() <= 90.0 && pitch.abs() <= 90.0);
        }
    }
}
