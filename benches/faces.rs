use photog::models::backend::Device;
use photog::models::onnx::{HostTensor, OnnxModel};
use std::time::Instant;
fn main() {
    for (f, shape) in [
        ("yunet_n_dynamic", [1, 3, 640, 640]),
        ("mobilefacenet", [1, 3, 112, 112]),
        ("lightqnet_050", [1, 3, 96, 96]),
        ("srvgg_animevideov3_x4", [1, 3, 64, 64]),
        ("sinet", [1, 3, 224, 224]),
        ("retinaface_mnet025", [1, 3, 640, 640]),
    ] {
        let p = glob(f);
        let m = OnnxModel::open(&p, Device::Cpu).unwrap();
        let n: usize = shape.iter().product();
        let data: Vec<f32> = (0..n).map(|i| (i * 7919 % 255) as f32).collect();
        let mut t = vec![];
        for _ in 0..30 {
            let x = HostTensor {
                shape: shape.to_vec(),
                data: data.clone(),
            };
            let s = Instant::now();
            let o = m.run(vec![x]).unwrap();
            t.push(s.elapsed().as_secs_f64() * 1e3);
            std::hint::black_box(o);
        }
        t.sort_by(f64::total_cmp);
        println!("{f:24} median {:.2} min {:.2}", t[15], t[0]);
    }
}
fn glob(n: &str) -> std::path::PathBuf {
    let o = std::process::Command::new("find")
        .args(["/work/shared/data/", "-name", &format!("{n}.onnx")])
        .output()
        .unwrap();
    String::from_utf8(o.stdout).unwrap().trim().into()
}
