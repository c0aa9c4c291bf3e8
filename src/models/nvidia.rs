//! What NVIDIA's libraries say of themselves and of the GPUs.
//!
//! Burn loads the same libraries and panics where one is missing, or fails at its first kernel. Here
//! they are asked first, so that somebody can be told what to install.

use std::ffi::{c_char, c_int, c_uint};
use std::fmt;

use libloading::Library;

/// Names of the driver's library, in the order in which Burn tries them.
const DRIVER_NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
/// Names of the compiler's library, newest first after the one that the linker's package brings.
const COMPILER_NAMES: [&str; 4] = [
    "libnvrtc.so",
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so.11",
];
/// Most GPUs that are looked at; the largest machines have 16.
const GPUS_MAX: usize = 64;
/// Room for the name of a GPU.
const NAME_BYTES: usize = 256;

/// A version of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion {
    /// The number before the dot.
    pub major: u32,
    /// The number after it.
    pub minor: u32,
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The driver and its GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The newest CUDA that it understands.
    pub cuda: CudaVersion,
    /// By their numbers.
    pub gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As the driver calls it.
    pub name: String,
    /// Its memory.
    pub bytes: u64,
}

/// Why a library says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// It is not there, or is no library for this machine.
    #[error("{library} cannot be loaded: {reason}")]
    Missing {
        /// Its usual name.
        library: &'static str,
        /// What the system says.
        reason: String,
    },
    /// It is too old to have a function.
    #[error("{library} has no function {function}; it is too old")]
    TooOld {
        /// Its usual name.
        library: &'static str,
        /// The function.
        function: &'static str,
    },
    /// A function failed.
    #[error("{function} of {library} failed with the code {code}")]
    Failed {
        /// Its usual name.
        library: &'static str,
        /// The function.
        function: &'static str,
        /// NVIDIA's number of the error.
        code: i32,
    },
}

/// Asks the driver.
#[allow(unsafe_code)]
pub fn driver() -> Result<Driver, LibraryError> {
    type Init = unsafe extern "C" fn(c_uint) -> c_int;
    type Number = unsafe extern "C" fn(*mut c_int) -> c_int;
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    type Memory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;

    let library = Named::load("libcuda.so.1", &DRIVER_NAMES)?;
    // SAFETY: these are the signatures of the CUDA driver API's reference: `CUresult` and `CUdevice`
    // are of the size of `int`, `size_t` is `usize`, and the suffix `_v2` names the form with
    // `size_t`. None has changed since CUDA 3.2. `library` outlives the functions.
    let (init, version, count, get, name, memory) = unsafe {
        (
            library.function::<Init>("cuInit")?,
            library.function::<Number>("cuDriverGetVersion")?,
            library.function::<Number>("cuDeviceGetCount")?,
            library.function::<Get>("cuDeviceGet")?,
            library.function::<Name>("cuDeviceGetName")?,
            library.function::<Memory>("cuDeviceTotalMem_v2")?,
        )
    };
    // SAFETY: the only demand is that the flags are 0.
    library.check("cuInit", unsafe { init(0) })?;
    let mut number: c_int = 0;
    // SAFETY: the pointer is to a live `c_int`, which the function writes; so below.
    library.check("cuDriverGetVersion", unsafe { version(&raw mut number) })?;
    let cuda = CudaVersion {
        major: number.max(0) as u32 / 1000,
        minor: number.max(0) as u32 % 1000 / 10,
    };
    let mut gpus = 0;
    // SAFETY: as above.
    library.check("cuDeviceGetCount", unsafe { count(&raw mut gpus) })?;
    let gpu = |index: c_int| {
        let (mut device, mut bytes) = (0, 0);
        let mut text = [0; NAME_BYTES];
        // SAFETY: `device` and `bytes` are live and of the types that the functions write. `text` has
        // as many bytes as the length says, and the name that is written ends within them with a 0.
        // `device` is a number that the driver gave.
        unsafe {
            library.check("cuDeviceGet", get(&raw mut device, index))?;
            let length = NAME_BYTES as c_int;
            library.check("cuDeviceGetName", name(text.as_mut_ptr(), length, device))?;
            library.check("cuDeviceTotalMem", memory(&raw mut bytes, device))?;
        }
        let text: Vec<u8> = text.iter().map(|&sign| sign as u8).collect();
        let end = text
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(text.len());
        Ok(Gpu {
            name: String::from_utf8_lossy(&text[..end]).into_owned(),
            bytes: bytes as u64,
        })
    };
    let gpus = 0..gpus.clamp(0, GPUS_MAX as c_int);
    Ok(Driver {
        cuda,
        gpus: gpus.map(gpu).collect::<Result<_, _>>()?,
    })
}

/// Asks the compiler of kernels (NVRTC) for its version.
#[allow(unsafe_code)]
pub fn compiler() -> Result<CudaVersion, LibraryError> {
    type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;

    let library = Named::load("libnvrtc.so", &COMPILER_NAMES)?;
    // SAFETY: this is the signature of NVRTC's reference in all versions, and `library` outlives it.
    let version = unsafe { library.function::<Version>("nvrtcVersion")? };
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to live `c_int`, which the function writes.
    let code = unsafe { version(&raw mut major, &raw mut minor) };
    library.check("nvrtcVersion", code)?;
    Ok(CudaVersion {
        major: major.max(0) as u32,
        minor: minor.max(0) as u32,
    })
}

/// A library that was loaded, with its usual name.
struct Named {
    name: &'static str,
    library: Library,
}

impl Named {
    /// Loads the first of some names that is there.
    #[allow(unsafe_code)]
    fn load(name: &'static str, names: &[&str]) -> Result<Self, LibraryError> {
        let mut reason = String::new();
        for file in names {
            // SAFETY: loading runs the library's initialisers. The names are those of NVIDIA's
            // libraries, without a path, so the system's own list of folders decides which files they
            // are; Burn loads the same ones in the same way. Their initialisers ask nothing of their
            // caller.
            match unsafe { Library::new(*file) } {
                Ok(library) => return Ok(Self { name, library }),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(LibraryError::Missing {
            library: name,
            reason,
        })
    }

    /// A function of the library.
    ///
    /// # Safety
    ///
    /// `F` has to be a function pointer of the function's signature, and may be called only while this
    /// library is loaded.
    #[allow(unsafe_code)]
    unsafe fn function<F: Copy>(&self, function: &'static str) -> Result<F, LibraryError> {
        // SAFETY: the caller's promise is that of `get`.
        let found = unsafe { self.library.get::<F>(function) };
        found
            .map(|symbol| *symbol)
            .map_err(|_| LibraryError::TooOld {
                library: self.name,
                function,
            })
    }

    fn check(&self, function: &'static str, code: c_int) -> Result<(), LibraryError> {
        if code == 0 {
            return Ok(());
        }
        Err(LibraryError::Failed {
            library: self.name,
            function,
            code,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_an_error_with_its_name() {
        let error = Named::load("libnone.so", &["libphotog-none.so.1"])
            .err()
            .unwrap();
        assert!(matches!(error, LibraryError::Missing { .. }));
        assert!(error.to_string().starts_with("libnone.so cannot be loaded"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    fn functions_are_found_by_name_and_missing_ones_are_told() {
        type Absolute = unsafe extern "C" fn(c_int) -> c_int;
        let library = Named::load("libc.so.6", &["libphotog-none.so.1", "libc.so.6"]).unwrap();
        // SAFETY: `abs` of the C library has this signature, and takes any number but the least.
        let found = unsafe { library.function::<Absolute>("abs").unwrap()(-7) };
        assert_eq!(found, 7);
        // SAFETY: there is no such function, so none is called.
        let missing = unsafe { library.function::<Absolute>("photog_none") };
        assert!(matches!(missing, Err(LibraryError::TooOld { .. })));
        assert!(library.check("abs", 0).is_ok());
        assert!(matches!(
            library.check("abs", 3),
            Err(LibraryError::Failed { code: 3, .. })
        ));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |major, minor| CudaVersion { major, minor };
        assert!(version(12, 10) > version(12, 8));
        assert!(version(13, 0) > version(12, 10));
        assert_eq!(version(12, 8).to_string(), "12.8");
    }
}
