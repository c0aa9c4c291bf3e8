"""The vocabulary of the demo checkpoint: byte pairs in CLIP's format, learned from our captions.

Any text can be encoded, for every byte has a token; words of our captions and some usual words of
prompts are one token each. `python -m forge.train.tokenizer` learns it and writes the four files of
CLIP's tokenizer to the work folder.
"""

import argparse
import hashlib
import json
import re
from collections import Counter

from transformers import CLIPTokenizer

from . import pictures, wording
from .common import work
from .diffusion_nets import TOKENS

BEGIN, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
# Rows whose captions are read; far more than it takes to meet every word.
ROWS = 3000
MERGES_MAX = 900


def folder():
    """Where the files are."""
    path = work("diffusion", "tokenizer", "vocab.json").parent
    path.mkdir(parents=True, exist_ok=True)
    return path


def identity():
    """What tells this vocabulary from another one."""
    return hashlib.sha256((folder() / "merges.txt").read_bytes()).hexdigest()[:16]


def letters():
    """The letter that stands for each byte, in the order of their ids: printable bytes stand for
    themselves, the others follow as letters from U+0100 on."""
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in themselves]
    return {byte: chr(byte) for byte in themselves} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def words_of(texts):
    """Words as CLIP cuts text (digits one by one, signs together), without doubles."""
    found = Counter()
    for text in texts:
        found.update(re.findall(r"[^\W\d_]+|\d|[^\s\w]+", text.lower()))
    return sorted(found)


def learn(words):
    """Pairs to merge, in order: the pair that occurs in most words first, until each word is one."""
    table = letters()
    split = []
    for word in words:
        symbols = [table[byte] for byte in word.encode()]
        split.append([*symbols[:-1], symbols[-1] + WORD_END])
    merges = []
    while len(merges) < MERGES_MAX:
        counts = Counter(pair for word in split for pair in zip(word, word[1:], strict=False))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        split = [merged(word, best) for word in split]
    return merges


def merged(word, pair):
    """The symbols of a word with each such pair joined."""
    result, at = [], 0
    while at < len(word):
        if tuple(word[at : at + 2]) == pair:
            result.append(word[at] + word[at + 1])
            at += 2
        else:
            result.append(word[at])
            at += 1
    return result


def write(place, merges):
    """The four files of a CLIP tokenizer."""
    table = letters().values()
    names = [*table, *(letter + WORD_END for letter in table), *("".join(pair) for pair in merges), BEGIN, END]
    if len(set(names)) != len(names):
        raise ValueError("two pairs make the same token")
    ids = {name: index for index, name in enumerate(names)}
    place.mkdir(parents=True, exist_ok=True)
    (place / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False, separators=(",", ":")), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (place / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    plain = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    special = {
        role: {"content": name, **plain}
        for role, name in (("bos_token", BEGIN), ("eos_token", END), ("unk_token", END))
    }
    (place / "special_tokens_map.json").write_text(json.dumps(special | {"pad_token": END}, indent=2) + "\n")
    config = {
        "add_prefix_space": False,
        **{role: {"__type": "AddedToken", **token} for role, token in special.items()},
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": TOKENS,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
    }
    (place / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def opened():
    """The tokenizer, as transformers opens it."""
    if not (folder() / "merges.txt").exists():
        raise SystemExit("first run python -m forge.train.tokenizer")
    return CLIPTokenizer.from_pretrained(folder())


def encode(tokenizer, texts):
    """Ids [texts, 77], padded with the end mark, as lists."""
    return tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True).input_ids


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    texts = wording.vocabulary_texts()
    for row in range(ROWS):
        texts += pictures.captions("train", row)
    words = words_of(texts)
    merges = learn(words)
    write(folder(), merges)
    tokenizer = opened()
    pieces = {word: len(tokenizer(word).input_ids) - 2 for word in words}
    longest = max(len(tokenizer(text).input_ids) for text in texts[3:])
    print(f"{len(tokenizer)} tokens, {len(words)} words, of these {sum(n > 1 for n in pieces.values())} in pieces")
    print(f"the longest caption has {longest} tokens with its marks")


if __name__ == "__main__":
    main()
