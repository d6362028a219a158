"""Folders, and what a user wants of them -> networks, and the rule that makes masks of what they say."""

import dataclasses
from typing import Any, NamedTuple

from ptxtf import files, forward, rundir
from ptxtf.config import InferenceConfig, MaskConfig
from ptxtf.data import shards
from ptxtf.errors import InputError
from ptxtf.inference import choice, loading, members
from ptxtf.inference.masks import Rule
from ptxtf.inference.predictor import Predictor


class System(NamedTuple):
    """All that makes masks of images."""

    members: members.Members
    predictor: Predictor
    rule: Rule

    def key(self) -> list[Any]:
        """Return what its masks depend on, as JSON can hold it."""
        shares = [member.weight for member in self.members.networks]
        made_of = [path for member in self.members.all for path in (member.file, member.run_dir / rundir.FLAGS)]
        sums = list(map(shards.sha256, made_of))
        return [shares, sums, dataclasses.asdict(self.members.asked), dataclasses.asdict(self.rule)]


def load(
    run_dir: files.Name,
    mask_config: MaskConfig,
    asked: InferenceConfig | None = None,
    *,
    in_pairs: bool = False,
    adapt: loading.Adapt = forward.for_this_device,
) -> System:
    """Load what training left, and complete the rule.

    Args:
        run_dir: as `Predictor.load` takes it, as are the other arguments.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        asked: how the networks are asked.
        in_pairs: compute small parts of a batch at the same time.
        adapt: makes of a trained model the one that computes.

    Raises:
        InputError: as `Predictor.load` and `choice.complete`; a gate without a network that says presence, or the other
            way round.

    A network for the gate alone is left out where the rule has none.
    """
    found = members.find(run_dir, asked)
    rule = choice.complete(mask_config, run_dir)
    if asked and asked.gate_dir and not rule.gate:
        raise InputError(
            "expected --gate, a probability, with --gate_dir, as the rule has none (ptxtf.ensemble chooses one). "
            f"Received: gate_dir={asked.gate_dir}"
        )
    if not rule.gate:
        found = dataclasses.replace(found, gate=None)
    predictor = Predictor.of(found, in_pairs=in_pairs, adapt=adapt)
    if rule.gate and not predictor.says_presence:
        raise InputError(
            f"expected --gate_dir, or networks with a presence logit (--presence_weight), with a gate of {rule.gate}. "
            f"Received: {predictor.name}"
        )
    return System(found, predictor, rule)
