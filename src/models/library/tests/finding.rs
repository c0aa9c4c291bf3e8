//! Which model a text means.

use super::*;

fn found(home: &Home, text: &str) -> Result<String, FindError> {
    let found = home.library.find_checkpoint(Some(text))?;
    Ok(found.listed.file_name)
}

#[test]
fn a_checkpoint_is_found_by_every_form_of_its_name() {
    let home = Home::new();
    let model = home.put_listed(Kind::Checkpoint, "sub/Model.safetensors", "abc");
    home.put(Kind::Checkpoint, "other.safetensors", "x");
    // Hashes count once they are known.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(matches!(
        found(&home, hash),
        Err(FindError::NotFound { .. })
    ));
    assert_eq!(home.library.title(&model), "sub/Model.safetensors");
    home.library.sha256(&model, &mut never).unwrap();
    assert_eq!(
        home.library.title(&model),
        "sub/Model.safetensors [ba7816bf8f]"
    );
    for text in [
        "sub/Model.safetensors [ba7816bf8f]",
        "sub/Model.safetensors",
        "sub_Model",
        "Model.safetensors",
        "Model",
        "Model [ba7816bf8f]",
        "ba7816bf8f",
        hash,
        "BA7816BF8F",
        "SUB_MODEL",
        " sub_Model\n",
        // A hash that it had elsewhere.
        "sub/Model.safetensors [0000000000]",
        "sub_Model [0000000000]",
        "ode",
        "ODEL.safe",
        "b/Mod [0000000000]",
    ] {
        assert_eq!(
            found(&home, text).unwrap(),
            "sub/Model.safetensors",
            "{text}"
        );
    }
}

#[test]
fn a_whole_name_goes_before_a_part_of_one() {
    let home = Home::new();
    for name in ["a", "a-long", "x-a", "sub/a-long"] {
        home.put(Kind::Checkpoint, &format!("{name}.safetensors"), name);
    }
    assert_eq!(found(&home, "a").unwrap(), "a.safetensors");
    // The file in the folder has that name too; the shorter path fits better.
    let both = home.library.find_checkpoint(Some("a-long")).unwrap();
    assert_eq!(both.listed.file_name, "a-long.safetensors");
    assert!(both.others.is_empty(), "{both:?}");
    assert_eq!(
        found(&home, "sub_a-long").unwrap(),
        "sub/a-long.safetensors"
    );
}

#[test]
fn of_parts_of_titles_the_shortest_counts_and_the_others_are_named() {
    let home = Home::new();
    for name in ["sd-v1-5-inpainting", "sd-v1-5", "sd-v1-4-full"] {
        home.put(Kind::Checkpoint, &format!("{name}.safetensors"), name);
    }
    let taken = home.library.find_checkpoint(Some("sd-v1")).unwrap();
    assert_eq!(taken.listed.name, "sd-v1-5");
    assert_eq!(
        taken.others,
        ["sd-v1-4-full.safetensors", "sd-v1-5-inpainting.safetensors"]
    );
}

#[test]
fn what_fits_several_equally_well_is_an_error_that_names_them() {
    let home = Home::new();
    for name in ["sd-v1-5", "sd-v1-4", "one/same", "two/same"] {
        home.put(Kind::Checkpoint, &format!("{name}.safetensors"), name);
    }
    let error = found(&home, "sd-v1").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("sd-v1-4.safetensors") && text.contains("sd-v1-5.safetensors"),
        "{text}"
    );
    let FindError::Ambiguous { candidates, .. } = found(&home, "same").unwrap_err() else {
        panic!("it was taken");
    };
    assert_eq!(candidates, ["one/same.safetensors", "two/same.safetensors"]);
}

#[test]
fn copies_of_one_file_are_not_ambiguous_by_their_hash() {
    let home = Home::new();
    for name in ["1.safetensors", "2.safetensors"] {
        let listed = home.put_listed(Kind::Checkpoint, name, "abc");
        home.library.sha256(&listed, &mut never).unwrap();
    }
    assert_eq!(found(&home, "ba7816bf8f").unwrap(), "1.safetensors");
}

#[test]
fn without_a_name_the_first_checkpoint_is_taken() {
    let home = Home::new();
    let error = home.library.find_checkpoint(None).unwrap_err();
    assert_eq!(
        error,
        FindError::Empty {
            kind: Kind::Checkpoint
        }
    );
    let text = error.to_string();
    assert!(text.contains("webui/models/Stable-diffusion"), "{text}");
    home.put(Kind::Checkpoint, "b.ckpt", "x");
    let text = home.library.find_checkpoint(None).unwrap_err().to_string();
    assert!(text.contains("b.ckpt") && text.contains("pickle"), "{text}");
    home.put(Kind::Checkpoint, "c.safetensors", "x");
    let only = home.library.find_checkpoint(None).unwrap();
    assert_eq!((&*only.listed.name, only.others.len()), ("c", 0));
    home.put(Kind::Checkpoint, "B.safetensors", "x");
    for text in [None, Some(""), Some(" \t")] {
        let first = home.library.find_checkpoint(text).unwrap();
        assert_eq!(first.listed.name, "B");
        assert_eq!(first.others, ["c.safetensors"]);
    }
}

#[test]
fn an_unknown_name_is_an_error_that_says_which_there_are() {
    let home = Home::new();
    for number in 10..25 {
        home.put(Kind::Checkpoint, &format!("m{number}.safetensors"), "x");
    }
    let asked = format!("nothing\n{}", "y".repeat(1000));
    let text = found(&home, &asked).unwrap_err().to_string();
    assert!(
        text.contains("m10.safetensors") && text.contains("5 more"),
        "{text}"
    );
    assert!(text.len() < 600 && !text.contains('\n'), "{text}");
    for text in ["", "  ", "[abc]"] {
        let error = home.library.find(Kind::ControlNet, text).unwrap_err();
        assert!(matches!(error, FindError::Empty { .. }), "{error}");
        let error = home.library.find(Kind::Checkpoint, text);
        assert!(
            matches!(error, Err(FindError::NotFound { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_refused_file_is_named_with_what_to_do() {
    let home = Home::new();
    home.put(Kind::Checkpoint, "sub/old.ckpt", "x");
    home.put(Kind::Checkpoint, "very-old.safetensors", "x");
    for text in ["sub/old.ckpt", "old.ckpt", "old", "old.ckpt [0123456789]"] {
        let error = found(&home, text).unwrap_err();
        assert!(
            matches!(error, FindError::Refused { .. }),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(".safetensors"), "{error}");
    }
}

#[test]
fn a_lora_is_found_by_its_whole_name_and_first_in_a_folder_of_that_name() {
    let home = Home::new();
    home.put(Kind::Lora, "anna.safetensors", "old");
    home.put(Kind::Lora, "anna/anna.safetensors", "new");
    home.put(Kind::Lora, "styles/FilmVelvia3.safetensors", "x");
    let found = |text: &str| home.library.find(Kind::Lora, text);
    assert_eq!(
        found("anna").unwrap().listed.file_name,
        "anna/anna.safetensors"
    );
    assert_eq!(found("filmvelvia3").unwrap().listed.name, "FilmVelvia3");
    assert!(matches!(found("Film"), Err(FindError::NotFound { .. })));
}

#[test]
fn a_control_net_is_found_by_a_part_of_its_name_and_with_the_extensions_hash() {
    let home = Home::new();
    home.put(Kind::ControlNet, "control_v11p_sd15_canny.safetensors", "x");
    home.put(
        Kind::ControlNet,
        "control_v11f1e_sd15_tile.safetensors",
        "x",
    );
    for text in ["control_v11p_sd15_canny [d14c016b]", "CANNY", "sd15_canny"] {
        let found = home.library.find(Kind::ControlNet, text).unwrap();
        assert_eq!(found.listed.name, "control_v11p_sd15_canny");
    }
}
