"""A CLIP-ViT checkpoint of open_clip, read without that package.

In: a folder with `open_clip_config.json`, `open_clip_model.safetensors` and a tokenizer's files.
Out: the same model as a `Dual` of transformers. Other architectures are refused.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from relatum.encoders.dual import Dual, check_complete
from relatum.errors import EncoderError

CONFIG = "open_clip_config.json"
KNOWN = set(
    "embed_dim vision_cfg text_cfg quick_gelu custom_text init_logit_scale layers width head_width "
    "mlp_ratio patch_size image_size patch_dropout heads context_length vocab_size output_tokens "
    "hf_tokenizer_name tokenizer_kwargs pad_id eos_id".split()
)
PLAIN = ("tok", "argmax", "linear", "learnable", None, False)  # what other settings may be
NAMES = {  # ours by theirs; the text tower's blocks have no prefix there
    r"^visual\.conv1": "vision_model.embeddings.patch_embedding",
    r"^visual\.class_embedding": "vision_model.embeddings.class_embedding",
    r"^visual\.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    r"^visual\.ln_pre": "vision_model.pre_layrnorm",
    r"^visual\.ln_post": "vision_model.post_layernorm",
    r"^visual\.proj$": "visual_projection.weight",
    r"^visual\.transformer\.resblocks": "vision_model.encoder.layers",
    r"^transformer\.resblocks": "text_model.encoder.layers",
    r"^token_embedding": "text_model.embeddings.token_embedding",
    r"^positional_embedding": "text_model.embeddings.position_embedding.weight",
    r"^ln_final": "text_model.final_layer_norm",
    r"^text_projection(\.weight)?$": "text_projection.weight",
    r"\.ln_(\d)\.": r".layer_norm\1.",
    r"\.attn\.": ".self_attn.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
}


def load_open_clip(folder: Path) -> Dual:
    """Load a folder; `EncoderError` for another architecture or weights that do not fit."""
    facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    model = CLIPModel(_config(facts["model_cfg"]))
    state = _renamed(load_file(folder / "open_clip_model.safetensors"))
    found = model.load_state_dict(state, strict=False)
    check_complete([*found.missing_keys, *(f"a place for {n}" for n in found.unexpected_keys)])
    return Dual(model, _processor(facts), AutoTokenizer.from_pretrained(folder))


def _config(facts: Mapping[str, Any]) -> CLIPConfig:
    vision, text, width = facts["vision_cfg"], facts["text_cfg"], facts["embed_dim"]
    for name, value in (*facts.items(), *vision.items(), *text.items()):
        if isinstance(value, list) or (name not in KNOWN and value not in PLAIN):
            what = f"its {CONFIG} has {name} = {value!r}, expected a plain CLIP-ViT"
            raise EncoderError(what, fix="name the same checkpoint in the format of transformers")
    both = {"hidden_act": "quick_gelu" if facts.get("quick_gelu") else "gelu"}
    both["projection_dim"] = width
    sizes = {"image_size": vision["image_size"], "patch_size": vision["patch_size"]}
    words = {"vocab_size": text["vocab_size"], "max_position_embeddings": text["context_length"]}
    words |= {"bos_token_id": None, "eos_token_id": 2}  # 2: the vector stands at the highest id
    heads = vision["width"] // vision.get("head_width", 64)
    return CLIPConfig(
        projection_dim=width,
        vision_config=both | sizes | _sizes(vision, heads),
        text_config=both | words | _sizes(text, text["heads"]),
    )


def _sizes(values: Mapping[str, Any], heads: int) -> dict[str, int]:
    return {
        "hidden_size": values["width"],
        "intermediate_size": int(values["width"] * values.get("mlp_ratio", 4.0)),
        "num_hidden_layers": values["layers"],
        "num_attention_heads": heads,
    }


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights as transformers does, and part what is one matrix there."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name, tensor = name.removeprefix("text."), tensor.float()
        if name in ("visual.proj", "text_projection"):
            tensor = tensor.T.contiguous()
        for theirs, ours in NAMES.items():
            name = re.sub(theirs, ours, name)
        if "in_proj_" in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace("in_proj_", f"{letter}_proj.")] = part.contiguous()
        elif name not in ("logit_bias", "attn_mask"):
            found[name] = tensor.reshape(()) if name == "logit_scale" else tensor
    return found


def _processor(facts: Mapping[str, Any]) -> CLIPImageProcessorPil:
    """Scale, crop and normalise as `preprocess_cfg` says."""
    wanted = facts.get("preprocess_cfg", {})
    mode = wanted.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise EncoderError(f"its {CONFIG} has resize_mode {mode!r}, expected shortest or squash")
    side = facts["model_cfg"]["vision_cfg"]["image_size"]
    square = {"height": side, "width": side}
    options: dict[str, Any] = {
        "size": {"shortest_edge": side} if mode == "shortest" else square,
        "crop_size": square,
        "do_center_crop": mode == "shortest",
        "resample": {"bilinear": 2, "bicubic": 3}[wanted.get("interpolation", "bicubic")],
    }
    given = {f"image_{name}": wanted[name] for name in ("mean", "std") if name in wanted}
    return CLIPImageProcessorPil(**options, **given)
