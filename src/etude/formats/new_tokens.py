"""Special tokens that a run writes, and that the model it starts from was not trained on.

If an adapter freezes their rows in the token tables, it can neither read nor predict them: a
fine-tuned model would never end its turns.
"""

from collections.abc import Collection

from etude.config.config_file import nodes
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import ObjectiveConfig
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_files import read
from etude.errors import ConfigError
from etude.formats import hugging_face, peft
from etude.formats.model import Model, read_model
from etude.formats.weight_map import HEAD, TABLE
from etude.network.network import Network

SHOWN = 4
"""Maximum number of tokens that an error names."""


def refuse_frozen_tokens(config: ExperimentConfig, tokenizer: Tokenizer, network: Network) -> None:
    """Raises ConfigError if adapters freeze the rows of tokens that the base does not know."""
    if config.init_from is None or not config.adapter:
        return
    parent = read_model(config.init_from)
    known = written_ids(parent.tokenizer, _roles(parent.objective or config.objective))
    known -= _added_ids(parent)
    new = sorted(written_ids(tokenizer, _roles(config.objective)) - known)
    tables = {name.replace(".base.", "."): p for name, p in network.named_parameters()}
    frozen = [name for name in (TABLE, HEAD) if name in tables and not tables[name].requires_grad]
    if not new or not frozen:
        return
    way_out = "Train"
    if config.template is not None:
        template = plugin_of(config.template).address.replace("/", "=")
        way_out = f"Use template=plain_eos, not {template}: it needs no new token. Or train"
    rows = " and ".join(frozen)
    raise ConfigError(
        f"adapter=[{','.join(config.adapter)}] freezes {rows}, but this run writes "
        f"{', '.join(tokenizer.pieces(new[:SHOWN]))}, which init_from={config.init_from} was not "
        "trained on.\n  It could not learn them, and answers might never end.\n"
        f"  {way_out} all weights (no adapter), or list an adapter last that unfreezes {rows}."
    )


def _added_ids(model: Model) -> set[int]:
    """The ids that a folder of Hugging Face or PEFT lacks: those beyond its rows, and étude's eos.

    Étude adds an eos if no file names one; in a padded table, it takes an unused row.
    """
    base = model
    while peft.is_peft(base.folder):
        base = read_model(str(base.base))
    vocab = base.tokenizer.vocab
    if not hugging_face.is_hugging_face(base.folder):
        return set(range(vocab.size, model.tokenizer.vocab.size))
    n_rows = hugging_face.read_fields(base.folder)[1]["vocab_size"]
    added = set(range(n_rows, model.tokenizer.vocab.size))
    file = base.folder / "tokenizer.json"
    if file.is_file() and "eos" not in read(file)[1].roles:
        added.add(vocab.eos)
    return added


def written_ids(tokenizer: Tokenizer, roles: Collection[str]) -> set[int]:
    """Returns the special ids in texts and in the chat template, and those of these roles."""
    vocab = tokenizer.vocab
    template = tokenizer.template or ""
    found = {*tokenizer.special_pattern.findall(template)}
    found |= {literal for name, literal in tokenizer.literals.items() if name in template}
    ids = {int(tokenizer.encode_with_special(literal)[0]) for literal in found}
    ids |= {*vocab.opening, *vocab.closing, vocab.eos}
    for role in roles:
        ids |= {*vocab.sentinels} if role == "sentinels" else {vars(vocab)[role]}
    return {i for i in ids if i < vocab.size}


def _roles(objective: ObjectiveConfig) -> set[str]:
    """The roles of the tokens that an objective writes into raw text."""
    return {role for _, node in nodes(objective) for role in plugin_of(node).declaration.tokens}
