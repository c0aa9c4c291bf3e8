//! How long the disk takes for one sync: without it nobody can tell what the other figures mean,
//! because some virtual disks answer long before a real one could.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result};

const APPENDS: usize = 500;

/// Appends 1 KiB and calls `fdatasync`, again and again, in a file of `folder` that is removed
/// afterwards; gives the median and the 99th percentile as text.
pub fn sync_time(folder: &Path) -> Result<String> {
    let path = folder.join("sync-probe");
    let mut file =
        File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let measured = append_and_sync(&mut file);
    fs::remove_file(&path)?;
    let mut millis = measured?;
    millis.sort_by(f64::total_cmp);
    let (p50, p99) = (millis[APPENDS / 2], millis[APPENDS * 99 / 100]);
    Ok(format!("p50 {p50:.3} ms, p99 {p99:.3} ms"))
}

fn append_and_sync(file: &mut File) -> Result<Vec<f64>> {
    let mut millis = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        file.write_all(&[0x5a; 1024])?;
        let begun = Instant::now();
        file.sync_data()?;
        millis.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(millis)
}
