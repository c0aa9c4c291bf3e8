"""Writes fixtures/clip_tokens.json: token ids of prompts, by the CLIPTokenizer of transformers.

    clip_tokens.py FOLDER

FOLDER has the files of the tokenizer of Stable Diffusion 1.5: vocab.json, merges.txt and
tokenizer_config.json. Nothing is downloaded. The second part of the file is a vocabulary of some thirty
tokens, made up here, which lacks most bytes and has other tokens for padding and for unknown bytes.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

FIXTURE = Path(__file__).parent / "fixtures" / "clip_tokens.json"

WRITTEN = [
    "",
    " ",
    "a",
    "A portrait of sks woman, upper body, looking at the camera",
    "portrait of a man in a grey suit, office window, f/2.8, 50mm, ISO100",
    "(best quality:1.2), [blurry], ((smile)), \\(bracket\\), a:b, x|y",
    "it's he'll we've I'm they'd don't you're IT'S WE'VE 'S 's''t o'clock rock'n'roll",
    "'", "''", "'''s", "!'s", "s's'll'd", "\u2019s curly, \u201cquotes\u201d, \u00abguillemets\u00bb",
    "0123456789 2026-11-29 3.14 1,000 x2 2x \u00bd \u00b2 \u2167 \u0663\u0664 \U0001d7d9",
    "na\u00efve caf\u00e9 \u00c5ngstr\u00f6m fa\u00e7ade \u00e6on \u0153uvre \u00df \u1e9e STRASSE",
    "e\u0301 A\u030a o\u0302\u0323 \u1100\u1161\u11a8 \u212b \ufb01 \ufb03 \uff21\uff22\uff23",
    "\u0130stanbul \u0131\u015f\u0131k \u039f\u0394\u039f\u03a3 \u03a3\u03a3 \u01c5 \u01c4",
    "\u4e00\u4e2a\u5973\u5b69\u7684\u8096\u50cf\uff0c\u67d4\u5149", "\u6771\u4eac\u30bf\u30ef\u30fc \u306e \u591c\u666f",
    "\ud55c\uad6d\uc5b4 \ucd08\uc0c1\ud654", "\u041f\u043e\u0440\u0442\u0440\u0435\u0442 \u0434\u0435\u0432\u0443\u0448\u043a\u0438",
    "\u0635\u0648\u0631\u0629 \u0634\u062e\u0635\u064a\u0629", "\u05d3\u05d9\u05d5\u05e7\u05df", "\u0e20\u0e32\u0e1e\u0e40\u0e2b\u0e21\u0e37\u0e2d\u0e19",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u091a\u093f\u0924\u094d\u0930", "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "\U0001f600", "smile \U0001f600\U0001f44d\U0001f3fd \u2764\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "a\u00a0b\u3000c\u2003d\u200be\ufefff\u0085g\u2028h", "tab\tnew\nline\r\nfeed\x0cbell\x07nul\x00unit\x1fend",
    "<lora:someone:0.8>", "<html> &amp; &lt;b&gt; &#39; &copy;", "C++ && || !! ?? ... --- ___ ~`^ @#$%",
    "under_score kebab-case CamelCase a.b.c http://example.org/x?y=1&z=2",
    "<|startoftext|>", "a<|endoftext|>b", "<|endoftext|><|endoftext|> !!", "!<|endoftext|>'s", "<|STARTOFTEXT|> x",
    "<|endoftex|>", "<|", "<<|endoftext|>>", "<start_of_text> <end_of_text>",
    "\ufffd", "\ufffd\ufffdx", "donaudampfschifffahrtsgesellschaftskapit\u00e4n",
    "x" * 200, "ab" * 60, "!" * 70, "." * 33 + "a", "1" * 20, "\u00e9" * 40, "\U0001f600" * 12, "ha" * 31 + "h",
    "word " * 90, "a,b,c,,d, ,e",
]

PIECES = [
    "portrait", "photo", "of", "a", "the", "young", "woman", "man", "sks", "in", "soft", "light", "studio", "hair",
    "masterpiece", "quality", "8k", "85mm", "f/1.8", "(smile:1.2)", "[noise]", "city's", "don't", "we'll", "O'Neill",
    "bokeh", "ultra-detailed", "cyberpunk", "Rembrandt", "impressionism", "caf\u00e9", "\u5199\u771f", "\u30dd\u30fc\u30c8\u30ec\u30fc\u30c8", "\U0001f338",
    "lowres", "bad", "anatomy", "jpeg", "artifacts", "100%", "3/4", "<b>", "&", "\u2014", "\u2026", "zxqv", "BREAK", "AND",
]
JOINTS = [" ", " ", " ", ", ", ", ", ",", ". ", "  ", "\n", "-", ""]
# Letters, marks, numbers, signs and pictures of many scripts.
RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA1, 0x24F), (0x300, 0x36F), (0x391, 0x3C9), (0x400, 0x45F), (0x5D0, 0x5EA),
    (0x621, 0x64A), (0x905, 0x94D), (0xE01, 0xE3A), (0x1E00, 0x1EFF), (0x2010, 0x205E), (0x20A0, 0x20BF),
    (0x2150, 0x218B), (0x2190, 0x22FF), (0x2600, 0x27BF), (0x3041, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00),
    (0xFF01, 0xFF5E), (0x1F300, 0x1F64F), (0x1D400, 0x1D433),
]


def drawn(count, seed):
    """Prompts that look like prompts, and strings of signs from everywhere."""
    draw = random.Random(seed)
    for _ in range(count):
        pieces = [draw.choice(PIECES) for _ in range(draw.randint(2, 9))]
        cased = [draw.choice([str, str, str.upper, str.title])(piece) for piece in pieces]
        yield "".join(piece + draw.choice(JOINTS) for piece in cased)
    for _ in range(count):
        signs = [chr(draw.randint(*draw.choice(RANGES))) for _ in range(draw.randint(1, 14))]
        yield "".join(signs)


def small_vocabulary():
    symbols = [letter + end for letter in "abcdeor,!" for end in ("", "</w>")]
    pairs = ["r e", "a b", "re d</w>", "o r</w>", "ab c</w>", "c ab", "! !</w>"]
    made = [pair.replace(" ", "") for pair in pairs]
    tokens = ["<|startoftext|>", "<|endoftext|>", "<pad>", "<unk>", *symbols, *made]
    # Ids in no order, so that none can be told from a place.
    ids = random.Random("ids").sample(range(len(tokens)), len(tokens))
    unknown = {"__type": "AddedToken", "content": "<unk>", "normalized": True}
    return dict(zip(tokens, ids)), pairs, {"pad_token": "<pad>", "unk_token": unknown}


def rows(tokenizer, prompts):
    return [[prompt, tokenizer(prompt, add_special_tokens=False)["input_ids"]] for prompt in prompts]


def lines(cases):
    return ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)


def main():
    prompts = list(dict.fromkeys([*WRITTEN, *drawn(120, "prompts")]))
    standard = rows(CLIPTokenizer.from_pretrained(sys.argv[1]), prompts)

    vocab, pairs, config = small_vocabulary()
    merges = "\n".join(["#version: 0.2", *pairs]) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        for name, text in [
            ("vocab.json", json.dumps(vocab)),
            ("merges.txt", merges),
            ("tokenizer_config.json", json.dumps({"tokenizer_class": "CLIPTokenizer", **config})),
        ]:
            Path(folder, name).write_text(text)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        texts = ["red abc cab", "Or, orb!!", "z", "zab ab", "!!!, a", "re\u00e9d", "", "r e d abcabc"]
        small = rows(tokenizer, texts)
        pad = tokenizer.pad_token_id

    FIXTURE.write_text(
        '{"standard":[\n' + lines(standard) + '\n],\n"small":{"vocab":' + json.dumps(vocab)
        + ',\n"merges":' + json.dumps(merges) + ',\n"config":' + json.dumps(config)
        + f',\n"pad":{pad},"prompts":[\n' + lines(small) + "\n]}}\n"
    )


main()
