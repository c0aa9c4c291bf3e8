"""LoRA files of every spelling that photog reads, and what each adds to the layers.

    python tests/reference/lora_files.py

One adapter with random factors on a few layers of a tiny UNet and a tiny text encoder is written by each
writer of diffusers and PEFT, and by hand in the spellings that no present version writes any more. Those
files hold no alpha, so the scale is folded into the up factors. Where a library can read what was renamed by
hand, it is made to. LyCORIS gives LoHa and LoCon. The folder `fixtures/lora` holds the files,
`layers.json` (the shapes of all weights) and `expected.safetensors`: the changes as PEFT and LyCORIS compute
them, `<adapter>/<network>/<path>`, f32.
"""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import diffusers
import lycoris
import peft
import torch
import transformers
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from diffusers.utils.state_dict_utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

FOLDER = Path(__file__).resolve().parent / "fixtures" / "lora"
LAYERS_PER_BLOCK = 1
DOWN = "down_blocks.0.attentions.0"
BLOCK = DOWN + ".transformer_blocks.0"
UP_BLOCK = "up_blocks.1.attentions.1.transformer_blocks.0"

# The layers that the adapter changes: attention, which the oldest spelling is confined to, and others.
UNET_ATTENTION = [
    BLOCK + ".attn1.to_q",
    BLOCK + ".attn1.to_out.0",
    BLOCK + ".attn2.to_k",
    UP_BLOCK + ".attn2.to_v",
]
UNET_OTHERS = [
    "conv_in",
    "time_embedding.linear_1",
    DOWN + ".proj_in",
    BLOCK + ".ff.net.2",
    "down_blocks.0.downsamplers.0.conv",
    "mid_block.attentions.0.proj_out",
    "down_blocks.0.resnets.0.time_emb_proj",
    "up_blocks.1.resnets.0.conv_shortcut",
]
TEXT_ATTENTION = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj"]
TEXT_OTHERS = ["encoder.layers.1.mlp.fc1"]

RANK, ALPHA = 2, 1
RANKS = {BLOCK + ".attn1.to_q": 1, "self_attn.q_proj": 4}
ALPHAS = {BLOCK + ".attn2.to_k": 6, "self_attn.q_proj": 4}


def networks():
    """A tiny UNet with all kinds of layers that those of SD 1.x have, and a tiny text encoder."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=LAYERS_PER_BLOCK,
        cross_attention_dim=16,
        norm_num_groups=8,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=64,
            bos_token_id=1,
            eos_token_id=2,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
        )
    )
    return unet, text


def config(layers, **more):
    return LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(layers), rank_pattern=RANKS, alpha_pattern=ALPHAS, **more
    )


def fill(model):
    """Random factors that half precision holds exactly."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".lora_" in name:
                value.copy_(torch.randn(value.shape).half())


def deltas(model):
    """What the adapter adds to each of its layers."""
    return {
        name.removeprefix("base_model.model."): module.get_delta_weight("default").detach()
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }


def scales(model):
    return {
        name.removeprefix("base_model.model."): module.scaling["default"]
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }


def split(name):
    """A name of PEFT as path and factor."""
    path, factor, _ = name.rsplit(".", 2)
    return path, {"lora_A": "down", "lora_B": "up"}[factor]


def folded(state, scale):
    """Factors that need no alpha."""
    return {name: value * scale[split(name)[0]] if split(name)[1] == "up" else value for name, value in state.items()}


def save(tensors, file, metadata=None):
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, FOLDER / file, metadata)


def ldm_name(path):
    """The name of a layer in the original code, for this very UNet."""
    for ours, theirs in [
        ("conv_in", "input_blocks.0.0"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("down_blocks.0.attentions.0", "input_blocks.1.1"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
        ("mid_block.attentions.0", "middle_block.1"),
        ("down_blocks.0.resnets.0.time_emb_proj", "input_blocks.1.0.emb_layers.1"),
        ("up_blocks.1.resnets.0.conv_shortcut", "output_blocks.2.0.skip_connection"),
        ("up_blocks.1.attentions.1", "output_blocks.3.1"),
    ]:
        if path == ours or path.startswith(ours + "."):
            return theirs + path[len(ours) :]
    raise KeyError(path)


def check_ldm_names(unet, paths):
    """Has diffusers turn the original names into its own."""
    state = BASES["unet"].state_dict()
    checkpoint = {"time_embed.2.weight": torch.zeros(1), "time_embed.2.bias": torch.zeros(1)}
    for name in ["time_embed.0", "input_blocks.0.0", "out.0", "out.2"]:
        checkpoint |= {f"{name}.weight": torch.zeros(1), f"{name}.bias": torch.zeros(1)}
    # The converter counts blocks by their first numbers.
    for name in ["input_blocks.1.0", "input_blocks.2.0", "input_blocks.3.0", "output_blocks.0.0", "output_blocks.1.0"]:
        checkpoint[f"{name}.in_layers.0.weight"] = torch.zeros(1)
    for name in ["middle_block.0", "middle_block.2", "output_blocks.2.0", "output_blocks.3.0"]:
        checkpoint[f"{name}.in_layers.0.weight"] = torch.zeros(1)
    marks = {}
    for at, path in enumerate(paths):
        marks[path] = torch.full(state[path + ".weight"].shape, float(at + 1))
        checkpoint[ldm_name(path) + ".weight"] = marks[path]
    checkpoint = {"model.diffusion_model." + name: value for name, value in checkpoint.items()}
    converted = convert_ldm_unet_checkpoint(checkpoint, unet.config)
    for path in paths:
        assert torch.equal(converted[path + ".weight"], marks[path]), path


def old_name(path):
    """The name of a layer's factors in the first attention processors."""
    before, last = path.removesuffix(".0").rsplit(".", 1)
    if path.startswith("encoder."):
        return f"text_encoder.text_model.{before}.to_{last[0] if last != 'out_proj' else 'out'}_lora"
    return f"unet.{before}.processor.{last}_lora"


def write_spellings(unet, text):
    """All files of the adapter; both models have it already."""
    states = {"unet": get_peft_model_state_dict(unet), "text_encoder": get_peft_model_state_dict(text)}
    models = {"unet": unet, "text_encoder": text}
    with tempfile.TemporaryDirectory() as folder:
        StableDiffusionPipeline.save_lora_weights(
            folder,
            unet_lora_layers=states["unet"],
            text_encoder_lora_layers=states["text_encoder"],
            **_collate_lora_metadata({"unet": unet, "text_encoder": text}),
        )
        shutil.copy(Path(folder) / "pytorch_lora_weights.safetensors", FOLDER / "diffusers.safetensors")

    prefixed = {f"{net}.{name}": value for net, state in states.items() for name, value in state.items()}
    all_scales = {f"{net}.{path}": scale for net, model in models.items() for path, scale in scales(model).items()}
    plain = folded(prefixed, all_scales)

    middle = {}
    for net, state in states.items():
        renamed = convert_state_dict_to_diffusers(folded(state, scales(models[net])))
        middle |= {f"{net}.{name}": value for name, value in renamed.items()}
    # As an older version of transformers named the layers.
    middle = {name.replace("text_encoder.encoder", "text_encoder.text_model.encoder"): v for name, v in middle.items()}
    assert any(".to_q.lora.down." in name for name in middle)
    assert any(".q_proj.lora_linear_layer.up." in name for name in middle)
    save(middle, "middle.safetensors")

    write_old(plain)
    write_kohya(prefixed, all_scales, unet)
    for net, model in [("unet", unet), ("text_encoder", text)]:
        write_folder(model, net)


def write_old(plain):
    """The spelling of the first attention processors, read back by diffusers."""
    old, back = {}, {}
    for name, value in plain.items():
        path, factor = split(name)
        net, path = path.split(".", 1)
        if path in UNET_ATTENTION + TEXT_ATTENTION:
            old[f"{old_name(path)}.{factor}.weight"] = value
            back[name] = value
    part = lambda net: {n.removeprefix(net): v for n, v in old.items() if n.startswith(net)}
    read = {"unet." + n: v for n, v in convert_unet_state_dict_to_peft(part("unet.")).items()}
    text = convert_state_dict_to_peft(part("text_encoder."))
    read |= {"text_encoder." + n.removeprefix("text_model."): v for n, v in text.items()}
    assert read.keys() == back.keys()
    assert all(torch.equal(read[name], back[name]) for name in back)
    save(old, "old.safetensors")


def write_kohya(prefixed, all_scales, unet):
    """kohya's naming with diffusers' and with the original names of the UNet, in half precision."""
    metadata = {"ss_v2": "False", "ss_base_model_version": "sd_v1", "ss_output_name": "someone"}
    converted = convert_state_dict_to_kohya(prefixed)
    renamed = {}
    for name, value in prefixed.items():
        path, factor = split(name)
        flat = path.replace("text_encoder.", "lora_te1.").replace("unet.", "lora_unet.").replace(".", "_")
        assert torch.equal(converted[f"{flat}.lora_{factor}.weight"], value), name
        net, path = path.split(".", 1)
        alpha = torch.tensor(all_scales[f"{net}.{path}"] * (value.shape[0] if factor == "down" else value.shape[1]))
        converted[f"{flat}.alpha"] = alpha
        layer = "lora_unet_" + ldm_name(path) if net == "unet" else "lora_te_text_model_" + path
        flat = layer.replace(".", "_")
        renamed[f"{flat}.lora_{factor}.weight"] = value
        renamed[f"{flat}.alpha"] = alpha
    half = lambda tensors: {name: value.half() for name, value in tensors.items()}
    save(half(converted), "kohya.safetensors", metadata)
    check_ldm_names(unet, UNET_ATTENTION + UNET_OTHERS)
    save(half(renamed), "kohya_original.safetensors", metadata)


def write_folder(model, name):
    """The folder that PEFT writes, as two files."""
    adapted = get_peft_model(copy.deepcopy(BASES[name]), copy.deepcopy(model.peft_config["default"]))
    state = get_peft_model_state_dict(model)
    missing = adapted.load_state_dict(
        {"base_model.model." + n.replace(".weight", ".default.weight"): v for n, v in state.items()}, strict=False
    )
    assert not missing.unexpected_keys, missing.unexpected_keys
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        shutil.copy(Path(folder) / "adapter_model.safetensors", FOLDER / f"peft_{name}.safetensors")
        text = json.loads((Path(folder) / "adapter_config.json").read_text())
        text["base_model_name_or_path"] = None
        text["target_modules"].sort()
        (FOLDER / f"peft_{name}.json").write_text(json.dumps(text, indent=1) + "\n")


def lycoris_module(kind, name, layer):
    module = kind(name, layer, lora_dim=2, alpha=1.0, use_tucker=False)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn(value.shape).half())
    return module


def write_lycoris(unet):
    """LoHa on a linear layer and convolutions, and LoCon, as LyCORIS names them."""
    tensors, expected = {}, {}
    for kind, path in [
        (LohaModule, BLOCK + ".attn1.to_q"),
        (LohaModule, DOWN + ".proj_in"),
        (LohaModule, "conv_in"),
        (LoConModule, "conv_out"),
        (LoConModule, BLOCK + ".attn2.to_k"),
    ]:
        name = "lora_unet_" + path.replace(".", "_")
        layer = unet.get_submodule(path)
        module = lycoris_module(kind, name, layer)
        state = {key: value for key, value in module.state_dict().items() if not key.startswith("org_module")}
        tensors |= {f"{name}.{key}": value for key, value in state.items()}
        # What its forward pass adds; for LoHa `get_diff_weight` applies the scale a second time.
        is_loha = kind is LohaModule
        shape = layer.weight.shape
        change = module.get_weight(shape) if is_loha else module.get_diff_weight(1.0, shape)[0]
        expected[f"lycoris/unet/{path}"] = change.detach().reshape(layer.weight.shape)
    save({name: value.half() for name, value in tensors.items()}, "lycoris.safetensors")
    return expected


def settle(file):
    """Gives the metadata of a file one order: the library's writer and Python's sets have none."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = header.pop("__metadata__", {})
    if "lora_adapter_metadata" in metadata:
        adapters = json.loads(metadata["lora_adapter_metadata"])
        for value in adapters.values():
            if isinstance(value, list):
                value.sort()
        metadata["lora_adapter_metadata"] = json.dumps(adapters)
    if metadata:
        header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def layers(model, prefix=""):
    """Shapes of the weights of linear layers and convolutions."""
    kinds = torch.nn.Linear, torch.nn.Conv2d
    return {prefix + name: list(m.weight.shape) for name, m in model.named_modules() if isinstance(m, kinds)}


torch.manual_seed(7)
FOLDER.mkdir(parents=True, exist_ok=True)
BASES = dict(zip(["unet", "text_encoder"], networks()))
unet, text = copy.deepcopy(BASES["unet"]), copy.deepcopy(BASES["text_encoder"])
shapes = {"unet": layers(unet), "text": layers(text, "text_model."), "layers_per_block": LAYERS_PER_BLOCK}
(FOLDER / "layers.json").write_text(json.dumps(shapes) + "\n")
expected = write_lycoris(unet)
unet.add_adapter(config(UNET_ATTENTION + UNET_OTHERS))
inject_adapter_in_model(config(TEXT_ATTENTION + TEXT_OTHERS), text)
fill(unet)
fill(text)
expected |= {f"plain/unet/{path}": change for path, change in deltas(unet).items()}
expected |= {f"plain/text/text_model.{path}": change for path, change in deltas(text).items()}
write_spellings(unet, text)

rooted = copy.deepcopy(BASES["text_encoder"])
inject_adapter_in_model(config(TEXT_ATTENTION, use_rslora=True), rooted)
fill(rooted)
expected |= {f"root/text/text_model.{path}": change for path, change in deltas(rooted).items()}
write_folder(rooted, "text_encoder")
for end in ["safetensors", "json"]:
    (FOLDER / f"peft_text_encoder.{end}").rename(FOLDER / f"peft_root.{end}")
write_folder(text, "text_encoder")

versions = {one.__name__: one.__version__ for one in [diffusers, peft, transformers, torch]}
save(expected, "expected.safetensors", {"command": "python tests/reference/lora_files.py", **versions})
for file in sorted(FOLDER.iterdir()):
    if file.suffix == ".safetensors":
        settle(file)
    print(file.stat().st_size, file.name)
