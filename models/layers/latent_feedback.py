"""An encoder-decoder of ConvLSTM layers whose decoder is fed its own hidden states."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.cell_stack import CellStack
from models.layers.convlstm_sequence import ConvLSTMSequence, lstm
from models.layers.joint_conv import JointConv
from models.layers.sequence_cell import State


class LatentFeedback(nn.Module):
    """Two ConvLSTM layers read a clip; two more dream on from the last hidden state.

    The decoder's layers start from all zeros: of the encoder they are given only its top hidden
    state, as their first input, and after it their own (github.com/holmdk,
    Video-Prediction-using-PyTorch, seq2seq_ConvLSTM.py).
    """

    def __init__(self, channels: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.encoder = CellStack(
            ConvLSTMSequence(inputs, width, kernel) for inputs in (channels, width)
        )
        self.decoder = nn.ModuleList(
            JointConv(width, width, 4 * width, kernel, bias=True) for _ in range(2)
        )

    def forward(self, clip: Tensor, steps: int) -> list[Tensor]:
        """The decoder's top hidden states [B,width,H,W] in `steps` steps after clip [B,T,C,H,W]."""
        features = self.encoder(clip)[-1][0]
        states: list[State | None] = [None] * len(self.decoder)
        outputs = []
        for _ in range(steps):
            for layer, conv in enumerate(self.decoder):
                hidden, cell = states[layer] or (None, None)
                i, f, g, o = conv(features, hidden).chunk(4, 1)
                states[layer] = state = lstm(i, f, g, o, cell)
                features = state[0]
            outputs.append(features)
        return outputs
