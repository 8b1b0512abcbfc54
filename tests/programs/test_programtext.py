"""What a program's own text tells of the folders that its runs would share: told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.programs.programtext import find_own_output


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("os.makedirs('exp/' + time.strftime('%Y%m%d-%H%M%S'))", True),
        ('out = f"runs/{datetime.now():%Y}" + now.strftime("%m-%d_%H.%M.%S")', True),
        ("writer = SummaryWriter()", True),
        ("print(time.strftime('%H:%M:%S'), loss)", False),
        ("logging.Formatter('%(asctime)s', '%Y-%m-%d %H:%M:%S')", False),
        ("writer = SummaryWriter(args.logdir)", False),
        ("name = now.strftime('%Y%m%d-%H%M%S-%f')", False),
        ('out = f"{datetime.now():%Y%m%d_%H%M%S}"', True),
        ("out = Path(f'runs/{args.name}-{now:%H%M%S}/logs')", True),
        ('out = f"runs/{int(time.time())}"', True),
        ('out = f"runs/{time.time():.0f}_{args.lr}"', True),
        ("out = os.path.join('runs', str(int(time())))", True),
        ('print(f"{datetime.now():%H:%M:%S}", loss)', False),
        ('print(f"{now:%Y-%m-%d %H:%M:%S}")', False),
        ('print(f"[{now:%H.%M.%S}] loss {loss}")', False),
        ('out = f"{now:%Y%m%d_%H%M%S_%f}"', False),
        ('print(f"took {int(time.time() - begin)}s")', False),
        ('print(f"{int(time.time())} {loss}")', False),
        ("seed = int(time.time())", False),
        ("'%Sales'", True),  # what only looks like one costs a sentence
    ],
)
def test_a_folder_named_by_the_second_is_found_and_a_clock_is_not(line: str, is_told: bool) -> None:
    found = find_own_output(f"import time\n{line}\n".encode(), ())
    assert (found is not None and found[0] == 2 and "by the time to the second" in found[1]) is is_told


@pytest.mark.parametrize(("out", "n_told"), [("", 1), ("command: [python, train.py, '--out=${run_dir}']\n", 0)])
def test_it_is_said_once_with_its_line_unless_each_run_is_given_a_folder(tmp_path: Path, out: str, n_told: int) -> None:
    (tmp_path / "train.py").write_text("import time\nfolder = time.strftime('%Y%m%d-%H%M%S')\n")
    (tmp_path / "sweep.yaml").write_text(
        f"program: train.py\nmetric: {{name: loss}}\n{out}parameters: {{lr: [1, 2]}}\n"
    )
    warnings = load_sweep(tmp_path / "sweep.yaml").warnings
    assert (
        sum("train.py:2 seems to name its output folder by the time to the second" in text for text in warnings)
        == n_told
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('parser.add_argument("--output_dir", type=str, default="out")', "--output_dir='out'"),
        ('p.add_argument("-o", "--save-dir", default="ckpt/last")', "--save-dir='ckpt/last'"),
        ('@click.option("--log-dir", default="logs")\ndef main(log_dir): pass', "--log-dir='logs'"),
        ('flags.DEFINE_string("out_dir", "out", "where")', "out_dir='out'"),
        ("out_dir = 'out'", "out_dir='out'"),
        ("@dataclass\nclass Args:\n    output_dir: str = 'out'", "output_dir='out'"),
        ("CHECKPOINT_DIR = 'checkpoints'", "CHECKPOINT_DIR='checkpoints'"),
        ('parser.add_argument("--output_dir", required=True)', None),
        ('parser.add_argument("--output_dir", default=None)', None),
        ('parser.add_argument("--data_dir", default="data")', None),
        ('parser.add_argument("--model_dir", default="bert")', None),
        ("out_dir = os.environ['OUT']", None),
        ("out = 'model.pt'", None),
        ("def f():\n    out_dir = 'x'", None),
        ("save_path = 'm.pt'", None),
        ("out_dir = '", None),
    ],
)
def test_an_output_folder_that_is_the_default_of_every_run_is_found(text: str, told: str | None) -> None:
    found = find_own_output(f"\n{text}\n".encode(), ())
    assert (found and found[1].partition(" unless")[0]) == (told and f"seems to write to {told}")


@pytest.mark.parametrize("given", ["--output-dir", "output_dir", "train.output_dir", "+output_dir"])
def test_an_output_folder_that_each_run_is_handed_is_no_default(given: str) -> None:
    assert find_own_output(b'p.add_argument("--output_dir", default="out")', [given]) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import lightning as L\ntrainer = L.Trainer(max_epochs=3)", 2),
        ("from pytorch_lightning import Trainer\nTrainer(logger=True)", 2),
        ("import lightning\nfrom x import CSVLogger\nlog = CSVLogger('logs', name='a')\nTrainer(logger=log)", 3),
        ("import lightning as L\nL.Trainer(logger=WandbLogger())", None),
        ("import lightning as L\nL.Trainer(default_root_dir=args.out)", None),
        ("import lightning as L\nL.Trainer(**config)", None),
        ("import lightning as L\nL.Trainer(logger=CSVLogger(args.out))", None),
        ("from transformers import Trainer\nTrainer(model)", None),
    ],
)
def test_folders_that_lightning_numbers_are_found(text: str, line: int | None) -> None:
    found = find_own_output(text.encode(), ())
    assert (found and found[0]) == line
    if line is not None:
        assert "lightning_logs/version_N" in (found or (0, ""))[1]


def test_a_default_folder_is_told_with_its_line_and_not_where_a_parameter_hands_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("\nout_dir = 'out'\n")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("program: train.py\nmetric: {name: loss}\nparameters: {lr: [1, 2]}\n")
    told = "train.py:2 seems to write to out_dir='out' unless told otherwise"
    assert sum(told in text for text in load_sweep(sweep).warnings) == 1
    sweep.write_text("program: train.py\nmetric: {name: loss}\nparameters: {lr: [1, 2], out_dir: [a, b]}\n")
    assert not any("seems to write" in text for text in load_sweep(sweep).warnings)
