import tiny

from etude.config.registry import build


def test_the_prompt_is_the_source_and_the_decoder_reads_the_completion_shifted_by_pad() -> None:
    targets = build(tiny.stack("encoder_decoder"), tiny.VOCAB).answer(
        [([20, 21], [22, 3]), ([23], [24, 25, 3])]
    )
    source = targets.inputs.source
    assert source is not None
    assert source.documents is not None
    assert source.tokens.tolist() == [[20, 21], [23, 0]]
    assert source.documents.tolist() == [[1, 1], [1, 0]]
    assert targets.inputs.tokens.tolist() == [[0, 22, 3], [0, 24, 25]]
    assert targets.ids.tolist() == [[22, 3, 0], [24, 25, 3]]
    assert targets.where.int().tolist() == [[1, 1, 0], [1, 1, 1]]


def test_decoding_starts_from_pad_with_the_prompt_as_source() -> None:
    inputs = build(tiny.stack("encoder_decoder"), tiny.VOCAB).prompt([[20, 21], [23]])
    assert inputs.tokens.tolist() == [[0], [0]]
    assert inputs.documents is None
    assert inputs.source is not None
    assert inputs.source.tokens.tolist() == [[20, 21], [23, 0]]


def test_only_decoder_blocks_read_the_source() -> None:
    network = build(tiny.stack("encoder_decoder"), tiny.VOCAB)
    reading = {name.split(".")[0] for name, _ in network.named_parameters() if "cross" in name}
    assert reading == {"decoder"}
