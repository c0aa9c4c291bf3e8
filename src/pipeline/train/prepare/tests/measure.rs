use super::*;
use crate::{
    models::{
        backend::Device,
        face::FaceModels,
        shelf::Shelf,
        supply::{PackRule, Supply},
    },
    pack::Pack,
    pipeline::FaceSource as _,
};
use std::path::PathBuf;

fn real() -> Arc<FaceModels> {
    let data = samples::shared_photos("x")
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    for (name, file) in [
        ("yunet", "yunet_n/original/yunet_n_dynamic.onnx"),
        ("mobilefacenet", "mobilefacenet/mobilefacenet.onnx"),
    ] {
        let path = catalog.find(name).unwrap().path(home.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(data.join("models").join(file), path).unwrap();
    }
    Shelf::new(home.path(), Device::Cpu).faces().unwrap()
}

#[test]
fn measure() {
    let home = tempfile::tempdir().unwrap();
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let demo = Shelf::new(supply, Device::Cpu).observer().unwrap();
    let real: Arc<dyn Observer> = real();
    let photos = samples::shared_photos("x").unwrap().join("persons");
    let people = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/demo/people");
    let mut sets: Vec<(String, PathBuf, &Arc<dyn Observer>)> = Vec::new();
    for p in ["alma", "bruno", "carla"] {
        sets.push((p.into(), people.join(p), &demo));
    }
    let mut names: Vec<_> = std::fs::read_dir(&photos)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for p in names {
        sets.push((p.clone(), photos.join(p), &real));
    }
    for (name, folder, observer) in sets {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| {
                p.extension()
                    .is_some_and(|e| e == "jpg" || e == "png" || e == "jpeg")
            })
            .collect();
        files.sort();
        let sources: Vec<_> = files.iter().map(|file| PhotoSource::Path(file)).collect();
        let fetcher = Fetcher::new(Mounts::default(), NetworkPolicy::default());
        for (side, background) in [
            (512, Background::Keep),
            (512, Background::White),
            (256, Background::Keep),
        ] {
            let options = Options {
                side,
                background,
                ..Options::default()
            };
            let mut keep = |_: usize, _: &RgbImage| Ok(());
            let started = Instant::now();
            let prepared = match prepare(
                &sources,
                &options,
                &fetcher,
                &**observer,
                &mut keep,
                &context(),
            ) {
                Ok(prepared) => prepared,
                Err(error) => {
                    println!("{name}: {error}");
                    break;
                }
            };
            if background == Background::Keep && side == 512 {
                println!(
                    "{name}: {:?} {:?} reference {} {:?}",
                    words(&prepared.fates),
                    prepared.fates.iter().map(|f| f.score).collect::<Vec<_>>(),
                    prepared.reference,
                    started.elapsed()
                );
            }
            let centre = prepared.centre.unwrap();
            let mut line = String::new();
            for made in &prepared.pictures {
                if side == 512 {
                    made.picture
                        .save(format!(
                            "/tmp/prep/{name}-{}-{background:?}.png",
                            made.photo
                        ))
                        .unwrap();
                }
                let faces = observer.observe(&made.picture).unwrap().faces().to_vec();
                let text = match &faces[..] {
                    [] => "none".to_owned(),
                    [face, ..] => format!(
                        "{:.2}/{:.2}/{:.1}",
                        centre.cosine(&observer.embed(&made.picture, face).unwrap()),
                        face.bounds.iou(&made.face.bounds),
                        Pose::of(&face.points).roll
                    ),
                };
                line += &format!(" {}:{text}", faces.len());
            }
            println!("  {side} {background:?}:{line}");
        }
    }
}
