//! Whether an NVIDIA GPU can be worked with: driver, compiler of kernels, headers, and a few products.
//!
//! Each check needs the one before it, so the first that fails is the last that is made.

use std::path::{Path, PathBuf};

use crate::{
    config::DeviceChoice,
    domain::MIB,
    models::{
        backend::{DRIVER_NODES, Device},
        nvidia::{self, CudaVersion, Driver, LibraryError},
        selfcheck::{Product, try_product},
    },
};

use super::{Finding, Level, finding};

/// Folders in which CUDA is looked for where `CUDA_PATH` does not name one, in Burn's order.
const FOLDERS: [&str; 2] = ["/usr/local/cuda", "/opt/cuda"];

/// Where this is, the headers may be in `/usr/include`.
const NVCC: &str = "/usr/bin/nvcc";

/// What every kernel includes.
const MAIN_HEADER: &str = "cuda_runtime.h";

/// What some kernels include.
const HEADERS: [&str; 5] = [
    "cuda_fp16.h",
    "cuda_bf16.h",
    "cuda_fp8.h",
    "mma.h",
    "cooperative_groups.h",
];

/// What some kernels include; since CUDA 13 below `cccl`.
const LIBRARY_HEADERS: [&str; 3] = ["cuda/barrier", "cuda/pipeline", "cuda/ptx"];

/// What is asked of a machine.
pub(super) trait Machine {
    /// Whether a file or folder is there.
    fn has(&self, path: &Path) -> bool;
    /// `CUDA_PATH`, where it is set.
    fn cuda_path(&self) -> Option<PathBuf>;
    /// What the driver says.
    fn driver(&self) -> Result<Driver, LibraryError>;
    /// What the compiler of kernels says.
    fn compiler(&self) -> Result<CudaVersion, LibraryError>;
    /// Whether a GPU makes a product as the processor does.
    fn product(&self, product: Product, index: usize) -> Result<(), String>;
}

/// This machine.
pub(super) struct This;

impl Machine for This {
    fn has(&self, path: &Path) -> bool {
        path.exists()
    }

    fn cuda_path(&self) -> Option<PathBuf> {
        std::env::var_os("CUDA_PATH").map(PathBuf::from)
    }

    fn driver(&self) -> Result<Driver, LibraryError> {
        nvidia::driver()
    }

    fn compiler(&self) -> Result<CudaVersion, LibraryError> {
        nvidia::compiler()
    }

    fn product(&self, product: Product, index: usize) -> Result<(), String> {
        try_product(product, Device::Cuda(index))
    }
}

/// What there is to say of the GPU. Where the processor was chosen, or no driver is loaded, this is
/// nothing: the finding on the device says it already.
pub(super) fn examine(choice: DeviceChoice, machine: &dyn Machine) -> Vec<Finding> {
    let driver = DRIVER_NODES.iter().any(|node| machine.has(Path::new(node)));
    if choice == DeviceChoice::Cpu || !driver {
        return Vec::new();
    }
    let mut findings = Vec::new();
    // What it returns only ends the checks early.
    let _ = look(choice, machine, &mut findings);
    findings
}

/// Makes one check after another; none when the rest would say nothing.
fn look(choice: DeviceChoice, machine: &dyn Machine, findings: &mut Vec<Finding>) -> Option<()> {
    let driver = note(findings, check_driver(choice, machine.driver()))?;
    let index = match choice {
        DeviceChoice::Cuda(number) => number as usize,
        DeviceChoice::Auto | DeviceChoice::Cpu => 0,
    };
    note(findings, check_compiler(driver.cuda, machine.compiler()))?;
    note(findings, check_headers(machine))?;
    for product in Product::ALL {
        note(
            findings,
            check_product(product, machine.product(product, index)),
        )?;
    }
    Some(())
}

/// A check's finding, and what came out of it when the next check can go on.
type Checked<T> = (Finding, Option<T>);

fn note<T>(findings: &mut Vec<Finding>, (finding, outcome): Checked<T>) -> Option<T> {
    findings.push(finding);
    outcome
}

/// When the driver does not work, `auto` falls back to the processor, and that is worth a warning only.
fn check_driver(choice: DeviceChoice, driver: Result<Driver, LibraryError>) -> Checked<Driver> {
    let level = if matches!(choice, DeviceChoice::Cuda(_)) {
        Level::Failure
    } else {
        Level::Warning
    };
    match driver {
        Err(error) => {
            let text = format!(
                "{error}; install the NVIDIA driver's libraries of the version that is loaded, or in a \
                 container give it the GPU (--gpus all)"
            );
            (finding("GPU driver", level, text), None)
        }
        Ok(driver) if driver.gpus.is_empty() => {
            let text = "the driver finds no GPU; look with `nvidia-smi`, and whether \
                        CUDA_VISIBLE_DEVICES hides it";
            (finding("GPU driver", level, text), None)
        }
        Ok(driver) => {
            let gpus: Vec<String> = driver
                .gpus
                .iter()
                .enumerate()
                .map(|(index, gpu)| {
                    format!("cuda:{index} {} with {} MiB", gpu.name, gpu.bytes / MIB)
                })
                .collect();
            let text = format!("up to CUDA {}: {}", driver.cuda, gpus.join(", "));
            (finding("GPU driver", Level::Ok, text), Some(driver))
        }
    }
}

fn check_compiler(driver: CudaVersion, compiler: Result<CudaVersion, LibraryError>) -> Checked<()> {
    const NAME: &str = "GPU compiler";
    match compiler {
        Err(error) => {
            let text = format!(
                "{error}; install NVRTC of CUDA {}.x (the package cuda-nvrtc), and put its folder into \
                 LD_LIBRARY_PATH or ld.so.conf",
                driver.major
            );
            (finding(NAME, Level::Failure, text), None)
        }
        // Within a major version a driver takes what it knows; newer code it refuses.
        Ok(version) if version > driver => {
            let text = format!(
                "NVRTC is of CUDA {version} and the driver knows {driver} at most, so it refuses what is \
                 compiled; install a newer driver or an older NVRTC"
            );
            (finding(NAME, Level::Failure, text), None)
        }
        Ok(version) => {
            let text = format!("NVRTC of CUDA {version}");
            (finding(NAME, Level::Ok, text), Some(()))
        }
    }
}

/// The folder in which Burn looks for CUDA. It believes `CUDA_PATH` without a look.
fn cuda_folder(machine: &dyn Machine) -> Option<PathBuf> {
    if let Some(named) = machine.cuda_path() {
        return Some(named);
    }
    let known = FOLDERS.into_iter().map(Path::new);
    let mut there = known.filter(|folder| machine.has(folder));
    let nvcc = || machine.has(Path::new(NVCC)).then(|| PathBuf::from("/usr"));
    there.next().map(Path::to_owned).or_else(nvcc)
}

fn check_headers(machine: &dyn Machine) -> Checked<()> {
    const NAME: &str = "GPU headers";
    let Some(folder) = cuda_folder(machine) else {
        let text = format!(
            "CUDA's headers are neither below {} nor {}; install the packages cuda-cudart-dev, cuda-crt \
             and cuda-cccl, or set CUDA_PATH to the folder that has `include` in it",
            FOLDERS[0], FOLDERS[1]
        );
        return (finding(NAME, Level::Failure, text), None);
    };
    let include = folder.join("include");
    if !machine.has(&include.join(MAIN_HEADER)) {
        let text = format!(
            "there is no {MAIN_HEADER} in {}; install the package cuda-cudart-dev, or set CUDA_PATH to \
             the folder that has `include` in it",
            include.display()
        );
        return (finding(NAME, Level::Failure, text), None);
    }
    let is_missing = |name: &&str| !machine.has(&include.join(name));
    let mut missing: Vec<&str> = HEADERS.into_iter().filter(is_missing).collect();
    let cccl = include.join("cccl");
    let nowhere = |name: &&str| is_missing(name) && !machine.has(&cccl.join(name));
    missing.extend(LIBRARY_HEADERS.into_iter().filter(nowhere));
    if missing.is_empty() {
        let text = format!("in {}", include.display());
        return (finding(NAME, Level::Ok, text), Some(()));
    }
    let text = format!(
        "{} lacks {}, which some kernels include; install the packages cuda-cudart-dev, cuda-crt and \
         cuda-cccl",
        include.display(),
        missing.join(", ")
    );
    (finding(NAME, Level::Warning, text), Some(()))
}

fn check_product(product: Product, made: Result<(), String>) -> Checked<()> {
    const NAME: &str = "GPU products";
    match made {
        Ok(()) => {
            let text = format!("{product}: as on the processor");
            (finding(NAME, Level::Ok, text), Some(()))
        }
        Err(reason) => {
            // Compilers print their whole input.
            let reason: String = reason.chars().take(600).collect();
            let text = format!(
                "{product}: {reason}; look at the findings above, try a newer driver, and use \
                 --device cpu meanwhile"
            );
            (finding(NAME, Level::Failure, text), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::models::nvidia::Gpu;

    /// A machine of files and answers.
    struct Staged {
        files: BTreeSet<PathBuf>,
        cuda_path: Option<PathBuf>,
        driver: Result<Driver, LibraryError>,
        compiler: Result<CudaVersion, LibraryError>,
        /// What fails.
        wrong: Option<Product>,
    }

    impl Machine for Staged {
        fn has(&self, path: &Path) -> bool {
            self.files.iter().any(|file| file.starts_with(path))
        }

        fn cuda_path(&self) -> Option<PathBuf> {
            self.cuda_path.clone()
        }

        fn driver(&self) -> Result<Driver, LibraryError> {
            self.driver.clone()
        }

        fn compiler(&self) -> Result<CudaVersion, LibraryError> {
            self.compiler.clone()
        }

        fn product(&self, product: Product, index: usize) -> Result<(), String> {
            assert_eq!(index, 0);
            if self.wrong == Some(product) {
                return Err(String::from("it gave what is no number"));
            }
            Ok(())
        }
    }

    const CUDA: CudaVersion = CudaVersion {
        major: 12,
        minor: 8,
    };

    fn missing(library: &'static str) -> LibraryError {
        LibraryError::Missing {
            library,
            reason: String::from("no such file"),
        }
    }

    /// All is there, with the headers of CUDA 13.
    fn whole() -> Staged {
        let include = Path::new("/usr/local/cuda/include");
        let headers = HEADERS.iter().chain([&MAIN_HEADER]);
        let mut files: BTreeSet<PathBuf> = headers.map(|name| include.join(name)).collect();
        let below = include.join("cccl");
        files.extend(LIBRARY_HEADERS.iter().map(|name| below.join(name)));
        files.insert(PathBuf::from(DRIVER_NODES[0]));
        Staged {
            files,
            cuda_path: None,
            driver: Ok(Driver {
                cuda: CUDA,
                gpus: vec![Gpu {
                    name: String::from("NVIDIA H200"),
                    bytes: 140 << 30,
                }],
            }),
            compiler: Ok(CUDA),
            wrong: None,
        }
    }

    /// Names and levels of what is found, and the text of the last.
    fn found(choice: DeviceChoice, machine: &Staged) -> (Vec<(&'static str, Level)>, String) {
        let findings = examine(choice, machine);
        let text = findings.last().map(|last| last.text.clone());
        let pairs = findings.iter().map(|one| (one.name, one.level));
        (pairs.collect(), text.unwrap_or_default())
    }

    fn last(machine: &Staged) -> (&'static str, Level, String) {
        let (pairs, text) = found(DeviceChoice::Auto, machine);
        let &(name, level) = pairs.last().unwrap();
        (name, level, text)
    }

    #[test]
    fn a_machine_with_everything_is_fine() {
        let (pairs, _) = found(DeviceChoice::Auto, &whole());
        assert_eq!(pairs.len(), 3 + Product::ALL.len());
        assert!(
            pairs.iter().all(|&(_, level)| level == Level::Ok),
            "{pairs:?}"
        );
    }

    #[test]
    fn nothing_is_said_without_a_driver_or_when_the_processor_was_chosen() {
        let mut machine = whole();
        assert!(found(DeviceChoice::Cpu, &machine).0.is_empty());
        machine.files.remove(Path::new(DRIVER_NODES[0]));
        assert!(found(DeviceChoice::Auto, &machine).0.is_empty());
    }

    #[test]
    fn a_driver_that_does_not_load_is_a_failure_only_where_a_gpu_was_asked_for() {
        let mut machine = whole();
        machine.driver = Err(missing("libcuda.so.1"));
        let (pairs, text) = found(DeviceChoice::Auto, &machine);
        assert_eq!(pairs, [("GPU driver", Level::Warning)]);
        assert!(text.contains("libcuda.so.1") && text.contains("install"));
        let (pairs, _) = found(DeviceChoice::Cuda(0), &machine);
        assert_eq!(pairs, [("GPU driver", Level::Failure)]);
        machine.driver = Ok(Driver {
            cuda: CUDA,
            gpus: Vec::new(),
        });
        assert!(last(&machine).2.contains("finds no GPU"));
    }

    #[test]
    fn a_compiler_that_is_missing_or_newer_than_the_driver_is_a_failure() {
        let mut machine = whole();
        machine.compiler = Err(missing("libnvrtc.so"));
        let (name, level, text) = last(&machine);
        assert_eq!((name, level), ("GPU compiler", Level::Failure));
        assert!(text.contains("cuda-nvrtc"));
        machine.compiler = Ok(CudaVersion { minor: 9, ..CUDA });
        let (name, level, text) = last(&machine);
        assert_eq!((name, level), ("GPU compiler", Level::Failure));
        assert!(text.contains("12.9") && text.contains("12.8"));
        machine.compiler = Ok(CudaVersion { minor: 0, ..CUDA });
        assert_eq!(last(&machine).1, Level::Ok);
    }

    #[test]
    fn headers_are_looked_for_where_burn_looks() {
        let mut machine = whole();
        machine.cuda_path = Some(PathBuf::from("/opt/other"));
        let (name, level, text) = last(&machine);
        assert_eq!((name, level), ("GPU headers", Level::Failure));
        assert!(text.contains("/opt/other/include") && text.contains("cuda-cudart-dev"));

        let mut machine = whole();
        machine.files.retain(|file| file.starts_with("/dev"));
        assert!(last(&machine).2.contains("CUDA_PATH"));
        machine.files.insert(PathBuf::from(NVCC));
        assert!(last(&machine).2.contains("/usr/include"));
    }

    #[test]
    fn a_header_that_only_some_kernels_need_is_a_warning_with_its_name() {
        let mut machine = whole();
        let include = Path::new("/usr/local/cuda/include");
        machine.files.remove(&include.join("mma.h"));
        machine.files.remove(&include.join("cccl/cuda/ptx"));
        let (pairs, _) = found(DeviceChoice::Auto, &machine);
        assert_eq!(pairs[2], ("GPU headers", Level::Warning));
        assert_eq!(pairs.len(), 3 + Product::ALL.len());
        let text = &examine(DeviceChoice::Auto, &machine)[2].text;
        assert!(text.contains("mma.h, cuda/ptx"), "{text}");
    }

    #[test]
    fn a_product_that_is_wrong_ends_the_checks() {
        let mut machine = whole();
        machine.wrong = Some(Product::HalfMatrices);
        let (pairs, text) = found(DeviceChoice::Auto, &machine);
        assert_eq!(pairs.len(), 5);
        assert_eq!(pairs[4], ("GPU products", Level::Failure));
        assert!(text.contains("bfloat16") && text.contains("no number"));
    }
}
