"""A tiny byte-level BPE tokenizer in the shape of SmolLM2's, made with the package tokenizers."""

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB = 320
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2
CORPUS = [
    "The quire is a gathering of leaves, folded once and sewn through the fold.",
    "A reader who turns the leaves of the quire finds the same words in the same order.",
    "In the year 1473 the printer sold 25 copies; in 1474 he sold 250 more.",
    "user and assistant, system and tool: they're only names, aren't they?",
    "func main() {\n\tfor i := 0; i < 10; i++ {\n\t\tfmt.Println(i)\n\t}\n}\n",
]
PROMPTS = {
    "long": "The printer folded the leaves of the quire in the year 1473, and the reader's words",
    "short": "naïve \u2192 42\n\n\tfin 🙂",
}
STRINGS = [
    "",
    " ",
    "the leaves",
    "The  printer   sold 1234567 copies",
    "they're aren't I'LL we'd",
    "<|im_start|>user\nhello<|im_end|>\n",
    "\u00e9\u0301 \u65e5\u672c\u8a9e \U0001f642\u200d",
    "\t\ttabs\r\nand returns \n \n",
    "under_score CamelCase x+=1; // note",
]
CHAT = [{"role": "user", "content": "Fold 12 leaves."}]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou fold the leaves.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write(folder):
    """tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tok.train_from_iterator(CORPUS, trainer)
    if tok.get_vocab_size() != VOCAB:
        raise SystemExit(f"tokenizer: {tok.get_vocab_size()} tokens, expected {VOCAB}")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
        chat_template=TEMPLATE,
    )
    fast.save_pretrained(folder)


def load(folder):
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def encode(folder, text):
    return load(folder).encode(text, add_special_tokens=False)


def decode(folder, ids):
    return load(folder).decode(ids, skip_special_tokens=False)


def facts(folder):
    """Ids of STRINGS (special tokens parsed), and the chat template's text and ids."""
    tok = load(folder)
    chat = tok.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    return {
        "strings": [{"text": s, "ids": tok.encode(s, add_special_tokens=False)} for s in STRINGS],
        "chat": {"messages": CHAT, "text": chat, "ids": tok.encode(chat, add_special_tokens=False)},
    }
