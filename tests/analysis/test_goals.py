"""Whether less or more is better, as far as a name tells."""

from __future__ import annotations

import pytest

from sweepline.analysis.goals import guess_goal


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("loss", "min"),
        ("Training/loss", "min"),
        ("Loss/train", "min"),
        ("val_error_rate", "min"),
        ("alltime_min_ms_hock", "min"),
        ("Race/eval_race_time_robust_trained_hock", "min"),
        ("testLoss", "min"),
        ("epoch_accuracy", "max"),
        ("rollout/ep_rew_mean", None),
        ("eval/mean_reward", "max"),
        ("F1", "max"),
        ("topKAcc", "max"),
        ("Performance/transitions_learned_per_second", "max"),
        ("reward_loss", "min"),
        ("time/fps", "max"),
        ("time/total_timesteps", None),
        ("Performance/learner_percentage_training", None),
        ("learning_rate", None),
        ("RL/avg_Q_hock", None),
        ("", None),
        ("/", None),
    ],
)
def test_the_last_word_that_tells_decides(name: str, goal: str | None) -> None:
    assert guess_goal(name) == goal
