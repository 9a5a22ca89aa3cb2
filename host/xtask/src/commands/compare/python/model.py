"""Embeds texts with the model that Weir uses: the mean over the mask, scaled to unit length."""

import numpy
import onnxruntime
import tokenizers

MAX_TOKENS = 256


class Model:
    """One session with one thread, like each of Weir's sessions."""

    def __init__(self, model: str, tokenizer: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {given.name for given in self.session.get_inputs()}
        self.tokenizer = tokenizers.Tokenizer.from_file(tokenizer)
        # The tokenizer's file says to pad and truncate every text to 128 tokens.
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts: list[str]) -> numpy.ndarray:
        """Returns a unit vector for each text. Texts beyond the model's window are truncated."""
        encoded = self.tokenizer.encode_batch(texts)
        ids = numpy.array([text.ids for text in encoded], dtype=numpy.int64)
        mask = numpy.array([text.attention_mask for text in encoded], dtype=numpy.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        used = {name: value for name, value in given.items() if name in self.inputs}
        (hidden,) = self.session.run(["last_hidden_state"], used)
        weights = mask[:, :, None].astype(numpy.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)
