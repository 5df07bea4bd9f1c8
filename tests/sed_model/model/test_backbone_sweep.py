"""What the sweep over timm's families tries, and what it says of a model."""

from __future__ import annotations

import re

from backbone_sweep import families, params_m, tried


def test_convolutional_families_are_tried_and_transformers_are_not() -> None:
    found = families()
    assert {"resnest/resnest", "repvit/repvit", "dla/dla", "hrnet/hrnet", "tresnet/tresnet", "vgg/vgg"} <= found.keys()
    assert not [name for name in found if re.match("vision_transformer|swin|eva|hiera|xcit|nest/", name)]
    assert "efficientnet/tinynet" in found
    assert {"tf_efficientnet_b0", "efficientnet_b0"} <= set(found["efficientnet/efficientnet"])


def test_parameters_are_counted_without_their_memory() -> None:
    assert round(params_m("resnet18"), 2) == 11.69


def test_a_model_that_needs_another_window_is_tried_with_it() -> None:
    """626 frames of 10 s are none that DLA can halve five times; 640 are."""
    facts = tried("dla46x_c")
    assert (facts["result"], facts["with_window_s"]) == ("trains with another window", 10.224)
    assert tried("test_efficientnet") == {"result": "trains", "left_out": []}


def test_what_a_search_refuses_is_refused_with_the_reason() -> None:
    facts = tried("vit_tiny_patch16_224")
    assert facts["result"] == "refused"
    assert "vit_tiny_patch16_224" in str(facts["reason"])
