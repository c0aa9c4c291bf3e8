//! Tensor names: which module a tensor belongs to, and what it is there.
//!
//! Only the end of a name is understood here; which layer a module is, [`Layers`](super::Layers)
//! knows.

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The factor that takes the layer's input.
    Down,
    /// The factor that gives the layer's output.
    Up,
    /// First factor of the first product of LoHa, `[out, rank]`.
    FirstA,
    /// Second factor of the first product, `[rank, in]`.
    FirstB,
    /// First factor of the second product.
    SecondA,
    /// Second factor of the second product.
    SecondB,
    /// The scale times the rank.
    Alpha,
    /// The scale itself.
    Scale,
}

impl Role {
    /// As it stands in texts.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down (A) factor",
            Self::Up => "up (B) factor",
            Self::FirstA => "factor hada_w1_a",
            Self::FirstB => "factor hada_w1_b",
            Self::SecondA => "factor hada_w2_a",
            Self::SecondB => "factor hada_w2_b",
            Self::Alpha => "alpha",
            Self::Scale => "scale",
        }
    }
}

/// What the end of a tensor's name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// A part of a module.
    Part {
        /// Name of the module, which is the tensor's name without its end.
        module: &'a str,
        /// Whether the module is named as the first attention processors of diffusers were.
        is_processor: bool,
        /// What the tensor is.
        role: Role,
    },
    /// A part of something that is known and not supported.
    Refused(&'static str),
    /// Nothing that is known.
    Strange,
}

/// Ends of names that are understood. `_lora.` is looked for last, for it is not cut off at a dot.
const ENDS: [(&str, Role); 16] = [
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".hada_w1_a", Role::FirstA),
    (".hada_w1_b", Role::FirstB),
    (".hada_w2_a", Role::SecondA),
    (".hada_w2_b", Role::SecondB),
    (".alpha", Role::Alpha),
    (".scale", Role::Scale),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
];

/// Components of names that show what is not supported: whole ones, then beginnings.
const REFUSED: [(&str, &str); 13] = [
    ("lora_mid", "LoCon with a middle factor (Tucker)"),
    ("on_input", "IA3"),
    ("diff", "a full difference of weights"),
    ("diff_b", "a full difference of biases"),
    ("w_norm", "training of norm layers"),
    ("b_norm", "training of norm layers"),
    ("a1", "GLoRA"),
    ("a2", "GLoRA"),
    ("b1", "GLoRA"),
    ("b2", "GLoRA"),
    ("dora_scale", "DoRA"),
    ("bias_indices", "training of biases"),
    ("bundle_emb", "an embedding inside a LoRA file"),
];
const REFUSED_BEGINNINGS: [(&str, &str); 9] = [
    ("lokr_", "LoKr"),
    ("hada_t", "LoHa with middle factors (Tucker)"),
    ("lora_magnitude", "DoRA"),
    ("oft_", "OFT"),
    ("boft_", "BOFT"),
    ("ia3_", "IA3"),
    ("vera_", "VeRA"),
    ("lora_embedding_", "LoRA of an embedding"),
    ("emb_params", "an embedding inside a LoRA file"),
];

/// Reads the name of a tensor.
pub(super) fn parse(name: &str) -> Name<'_> {
    if let Some(kind) = refused(name) {
        return Name::Refused(kind);
    }
    for (end, role) in ENDS {
        if let Some(module) = name.strip_suffix(end)
            && !module.is_empty()
        {
            return Name::Part {
                module,
                is_processor: end.starts_with("_lora"),
                role,
            };
        }
    }
    named_adapter(name).unwrap_or(Name::Strange)
}

fn refused(name: &str) -> Option<&'static str> {
    let end = name.rsplit('.').next();
    if end == Some("bias") && name.contains("lora_") {
        return Some("training of biases");
    }
    name.split('.').find_map(|component| {
        let whole = REFUSED.iter().find(|(known, _)| *known == component);
        let beginning = || {
            REFUSED_BEGINNINGS
                .iter()
                .find(|(known, _)| component.starts_with(known))
        };
        whole.or_else(beginning).map(|(_, kind)| *kind)
    })
}

/// A name with that of the adapter before `weight`, as PEFT keeps it in memory: two adapters in one
/// file show as one module that has a part twice.
fn named_adapter(name: &str) -> Option<Name<'_>> {
    let (rest, _adapter) = name.strip_suffix(".weight")?.rsplit_once('.')?;
    let (module, role) = match rest.rsplit_once('.')? {
        (module, "lora_A") => (module, Role::Down),
        (module, "lora_B") => (module, Role::Up),
        _ => return None,
    };
    (!module.is_empty()).then_some(Name::Part {
        module,
        is_processor: false,
        role,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> (&str, Role, bool) {
        match parse(name) {
            Name::Part {
                module,
                is_processor,
                role,
            } => (module, role, is_processor),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn each_spelling_gives_module_and_role() {
        for (name, module, role, is_processor) in [
            ("m.lora_down.weight", "m", Role::Down, false),
            ("a.b.lora_A.weight", "a.b", Role::Down, false),
            ("a.b.lora_B.default.weight", "a.b", Role::Up, false),
            ("a.to_q.lora.up.weight", "a.to_q", Role::Up, false),
            (
                "a.q.lora_linear_layer.down.weight",
                "a.q",
                Role::Down,
                false,
            ),
            (
                "a.processor.to_q_lora.up.weight",
                "a.processor.to_q",
                Role::Up,
                true,
            ),
            ("m.alpha", "m", Role::Alpha, false),
            ("m.scale", "m", Role::Scale, false),
            ("m.hada_w2_b", "m", Role::SecondB, false),
        ] {
            assert_eq!(part(name), (module, role, is_processor), "{name}");
        }
    }

    #[test]
    fn what_is_not_supported_is_known_by_name() {
        for (name, kind) in [
            ("m.lokr_w1", "LoKr"),
            ("m.lokr_w2_a", "LoKr"),
            ("m.on_input", "IA3"),
            ("a.b.ia3_l", "IA3"),
            ("m.diff", "a full difference of weights"),
            ("m.diff_b", "a full difference of biases"),
            ("m.w_norm", "training of norm layers"),
            ("m.a1.weight", "GLoRA"),
            ("m.oft_blocks", "OFT"),
            ("m.oft_diag", "OFT"),
            ("a.oft_R.weight", "OFT"),
            ("a.boft_R", "BOFT"),
            ("m.dora_scale", "DoRA"),
            ("a.to_q.lora_magnitude_vector", "DoRA"),
            ("a.to_q.lora_magnitude_vector.default.weight", "DoRA"),
            ("m.lora_mid.weight", "LoCon with a middle factor (Tucker)"),
            ("m.hada_t1", "LoHa with middle factors (Tucker)"),
            ("a.lora_embedding_A", "LoRA of an embedding"),
            ("a.b.lora_B.bias", "training of biases"),
            (
                "bundle_emb.cat.string_to_param.*",
                "an embedding inside a LoRA file",
            ),
        ] {
            assert_eq!(parse(name), Name::Refused(kind), "{name}");
        }
    }

    #[test]
    fn other_names_are_strange() {
        for name in [
            "",
            ".alpha",
            ".lora_A.weight",
            "lora_A.weight",
            "weight",
            "model.diffusion_model.input_blocks.0.0.weight",
            "a.lora_C.default.weight",
        ] {
            assert_eq!(parse(name), Name::Strange, "{name}");
        }
    }
}
