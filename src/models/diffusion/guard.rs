//! Keeps a device's failures from ending more than the work in hand.

use super::DiffusionError;
use crate::models::backend::caught;
use crate::models::nn::Kernels;

/// Words in which drivers and Burn say that memory ran out.
const NO_MEMORY: [&str; 4] = [
    "out of memory",
    "outofmemory",
    "out_of_memory",
    "can't allocate",
];

/// Runs some work on a device. When it runs out of memory, what is free is given back to the device
/// and the work is tried once more, from its start. A panic of the device's library is an error.
pub(super) fn guarded<B: Kernels, T>(
    device: &B::Device,
    name: &str,
    mut work: impl FnMut() -> Result<T, DiffusionError>,
) -> Result<T, DiffusionError> {
    match attempt(name, &mut work) {
        Err(error) if is_lack_of_memory(&error) => {
            // What fails here fails again below.
            let _ = B::sync(device);
            B::memory_cleanup(device);
            attempt(name, &mut work).map_err(|error| {
                if is_lack_of_memory(&error) {
                    DiffusionError::OutOfMemory {
                        device: name.to_owned(),
                    }
                } else {
                    error
                }
            })
        }
        other => other,
    }
}

fn attempt<T>(
    name: &str,
    work: &mut impl FnMut() -> Result<T, DiffusionError>,
) -> Result<T, DiffusionError> {
    // Nothing that the work leaves half done is looked at again: it is tried from its start.
    caught(work).unwrap_or_else(|reason| {
        Err(DiffusionError::Device {
            device: name.to_owned(),
            reason,
        })
    })
}

/// Whether memory ran out.
pub(super) fn is_lack_of_memory(error: &DiffusionError) -> bool {
    match error {
        DiffusionError::OutOfMemory { .. } => true,
        DiffusionError::Device { reason, .. } => {
            let reason = reason.to_lowercase();
            NO_MEMORY.iter().any(|words| reason.contains(words))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;

    use super::*;

    fn run(mut outcomes: Vec<Result<u32, &'static str>>) -> (Result<u32, DiffusionError>, usize) {
        let mut tries = 0;
        let result = guarded::<Flex, _>(&FlexDevice, "cuda:0", || {
            tries += 1;
            outcomes.remove(0).map_err(|reason| DiffusionError::Device {
                device: String::from("cuda:0"),
                reason: reason.to_owned(),
            })
        });
        (result, tries)
    }

    #[test]
    fn lack_of_memory_is_tried_once_more_and_then_told() {
        let lack = "CUDA_ERROR_OUT_OF_MEMORY";
        assert!(matches!(run(vec![Err(lack), Ok(7)]), (Ok(7), 2)));
        let (result, tries) = run(vec![Err(lack), Err(lack)]);
        assert!(matches!(result, Err(DiffusionError::OutOfMemory { .. })));
        assert_eq!(tries, 2);
    }

    #[test]
    fn other_failures_are_not_tried_again() {
        let (result, tries) = run(vec![Err("illegal address"), Ok(1)]);
        assert!(matches!(result, Err(DiffusionError::Device { .. })));
        assert_eq!(tries, 1);
    }

    #[test]
    fn a_panic_of_a_library_is_an_error_with_its_text() {
        let result = guarded::<Flex, ()>(&FlexDevice, "cpu", || panic!("no kernel fits"));
        assert!(result.unwrap_err().to_string().contains("no kernel fits"));
    }
}
