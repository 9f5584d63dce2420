"""Hosts: small networks between any encoder's token vectors and a decision about the whole text. They know no family.

A host is an nn.Module: (vectors [N,D] of the real tokens, sequence after sequence; lengths [S]) → [S,H], with `width` = H.
So rows, padding and company cannot reach it. Default sizes are those of the papers.
"""

from typing import Literal, Protocol

from torch import Tensor

from foretext.heads.hosts.average import AverageHost
from foretext.heads.hosts.convolution import ConvolutionHost
from foretext.heads.hosts.recurrent import RecurrentHost

Name = Literal["average", "cnn", "bilstm"]


class Host(Protocol):
    """An nn.Module. A sequence without tokens has a vector too."""

    width: int

    def __call__(self, vectors_ND: Tensor, lengths_S: Tensor) -> Tensor: ...


def make_host(name: Name, width: int, seed: int, source: str) -> AverageHost | ConvolutionHost | RecurrentHost:
    """The host called `name` for token vectors of `width`, with starting values that the seed and the source decide."""
    make: type[AverageHost | ConvolutionHost | RecurrentHost] = {"average": AverageHost, "cnn": ConvolutionHost, "bilstm": RecurrentHost}[name]
    made: AverageHost | ConvolutionHost | RecurrentHost = make(width, seed=seed, name=f"host.{source}")
    return made
