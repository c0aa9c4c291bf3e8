//! Embeddings and LoRA files, which need no device.

use super::*;
use safetensors::{Dtype, tensor::TensorView};

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/reference/fixtures/diffusion"
);

fn fixture(home: &Home, kind: Kind, name: &str) -> Listed {
    let to = home.path(kind, name);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(Path::new(FIXTURES).join(name), to).unwrap();
    home.listed(kind, name)
}

/// Name, shape and numbers.
type Tensor<'a> = (&'a str, &'a [usize], &'a [f32]);

/// A file with these tensors.
fn write(home: &Home, tensors: &[Tensor<'_>]) -> Listed {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, numbers)| numbers.iter().flat_map(|it| it.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (*name, view)
    });
    let text = safetensors::serialize(views, None).unwrap();
    let path = home.put(Kind::Embedding, "e.safetensors", "");
    fs::write(path, text).unwrap();
    home.listed(Kind::Embedding, "e.safetensors")
}

#[test]
fn embeddings_of_both_forms_are_read() {
    let home = Home::new();
    let webui = fixture(&home, Kind::Embedding, "tiny_embedding_webui.safetensors");
    let vectors = home.library.embedding(&webui).unwrap();
    assert_eq!((vectors.count, vectors.width), (1, 24));
    let diffusers = "tiny_embedding_diffusers.safetensors";
    let diffusers = fixture(&home, Kind::Embedding, diffusers);
    let vectors = home.library.embedding(&diffusers).unwrap();
    assert_eq!((vectors.count, vectors.width), (2, 24));
    // As the reader of files gives them.
    let file = Container::at(&diffusers.place).unwrap();
    let numbers = file.get("<two-vectors>").unwrap().to_f32().unwrap();
    assert_eq!(vectors.numbers, numbers);
    assert!(numbers.iter().any(|number| *number != 0.0));
    let again = home.library.embedding(&diffusers).unwrap();
    assert!(Arc::ptr_eq(&vectors, &again));
}

#[test]
fn one_vector_may_stand_alone_and_the_webuis_tensor_goes_first() {
    let home = Home::new();
    let alone = write(&home, &[("<x>", &[3], &[1.0, 2.0, 3.0])]);
    let expected = Vectors {
        count: 1,
        width: 3,
        numbers: vec![1.0, 2.0, 3.0],
    };
    assert_eq!(*home.library.embedding(&alone).unwrap(), expected);
    let both = write(
        &home,
        &[("a", &[1], &[0.0]), ("emb_params", &[1, 1], &[5.0])],
    );
    assert_eq!(home.library.embedding(&both).unwrap().numbers, [5.0]);
}

#[test]
fn what_is_no_embedding_is_refused_with_what_to_do() {
    let home = Home::new();
    let long = vec![0.0; 2000];
    let cases: [(&[Tensor<'_>], &str); 7] = [
        (&[], "no embedding"),
        (&[("a", &[1], &[0.0]), ("b", &[1], &[0.0])], "no embedding"),
        (
            &[("clip_g", &[1], &[0.0]), ("clip_l", &[1], &[0.0])],
            "SDXL",
        ),
        (&[("a", &[1, 1, 1], &[0.0])], "no embedding"),
        (&[("a", &[2000, 1], &long)], "2000 vectors"),
        (&[("a", &[0, 4], &[])], "0 vectors"),
        (&[("a", &[2], &[0.0, f32::NAN])], "not finite"),
    ];
    for (tensors, word) in cases {
        let file = write(&home, tensors);
        let error = home.library.embedding(&file).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(home.library.loaded().is_empty());
}

#[test]
fn an_embedding_that_is_a_pickle_is_refused() {
    let home = Home::new();
    home.put(Kind::Embedding, "old.pt", "x");
    let error = home.library.find(Kind::Embedding, "old").unwrap_err();
    assert!(matches!(error, FindError::Refused { .. }), "{error}");
    let path = home.path(Kind::Embedding, "old.pt");
    let error = Vectors::open(&path).unwrap_err().to_string();
    assert!(error.contains("old.pt"), "{error}");
}

#[test]
fn loras_are_opened_once_and_only_so_many_stay_open() {
    let home = Home::new();
    let lora = fixture(&home, Kind::Lora, "tiny_lora_kohya.safetensors");
    let one = home.library.lora(&lora).unwrap();
    assert!(one.names().count() > 0);
    assert!(Arc::ptr_eq(&one, &home.library.lora(&lora).unwrap()));
    let text = fs::read(path_of(&lora)).unwrap();
    for number in 0..LIGHT_MAX + 5 {
        let path = home.put(Kind::Lora, &format!("{number}.safetensors"), "");
        fs::write(path, &text).unwrap();
    }
    for other in home.library.list(Kind::Lora) {
        home.library.lora(&other).unwrap();
    }
    assert_eq!(home.library.loaded().len(), LIGHT_MAX);
    assert!(Arc::ptr_eq(&one, &home.library.lora(&lora).unwrap()));
    home.put(Kind::Lora, "bad.safetensors", "no tensors");
    let bad = home.listed(Kind::Lora, "bad.safetensors");
    let error = home.library.lora(&bad).unwrap_err();
    assert!(matches!(error, LoadError::Weights(_)), "{error}");
}
