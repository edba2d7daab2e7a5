"""The mean over tokens: weighted by their number, over batches without any, and over what is no number."""

import torch

from esft_lightning.training.token_mean import TokenMean


def test_each_token_counts_once_and_batches_without_tokens_do_not() -> None:
    mean = TokenMean()
    for total, tokens in ((6.0, 3), (0.0, 0), (float("nan"), 0), (2.0, 1)):
        mean.update(torch.tensor(total), torch.tensor(tokens))
    assert float(mean.compute()) == 2.0
    mean.reset()
    mean.update(torch.tensor(5), torch.tensor(10))
    assert float(mean.compute()) == 0.5


def test_a_loss_that_is_no_number_is_not_left_out() -> None:
    mean = TokenMean()
    for total in (1.0, float("nan")):
        mean.update(torch.tensor(total), torch.tensor(2))
    assert mean.compute().isnan()
