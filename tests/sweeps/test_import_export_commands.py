"""``sweepline import`` and ``sweepline export`` as commands: files, sentences, exit codes."""

from __future__ import annotations

from tests.conftest import Project

GUILD = r"""
    train:
      main: train
      flags: {lr: [0.1, 0.2]}
      objective: {maximize: accuracy}
      output-scalars: {accuracy: 'Accuracy: (\value)'}
"""
SCRIPT = """
    import sys
    lr = float(sys.argv[1].removeprefix("--lr="))
    print(f"Accuracy: {lr}")
"""


def test_an_imported_file_runs(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.write("guild.yml", GUILD)
    told = project.command("import", "guild.yml")
    ran = project.run("--plain")

    assert (told.returncode, ran.returncode) == (0, 0), told.stderr + ran.stderr
    assert sorted(project.rows()["accuracy"]) == [0.1, 0.2]
    assert told.stdout.splitlines()[0] == "a Guild file: 1 parameter, method grid"
    assert told.stdout.splitlines()[-1] == "wrote sweep.yaml; look it over, then: sweepline run -n sweep.yaml"


def test_a_run_of_another_tools_file_names_the_command_for_it(project: Project) -> None:
    project.write("guild.yml", GUILD)
    told = project.run("guild.yml")

    assert told.returncode == 2
    assert (
        told.stderr
        == "sweepline: guild.yml: this is a Guild file: sweepline import guild.yml makes a sweep file of it\n"
    )


def test_what_was_not_carried_over_stands_in_the_file_and_on_the_terminal(project: Project) -> None:
    project.write("guild.yml", GUILD + "      requires: data\n")
    told = project.command("import", "guild.yml", "--output", "s.yaml")

    assert "train.requires: has no counterpart here" in told.stdout
    assert "# train.requires: has no counterpart here" in (project.path / "s.yaml").read_text()


def test_an_import_writes_over_nothing_without_force(project: Project) -> None:
    project.write("guild.yml", GUILD)
    project.write("sweep.yaml", "mine: 1\n")

    assert project.command("import", "guild.yml").returncode == 2
    assert project.command("import", "guild.yml", "--force").returncode == 0


def test_an_export_goes_to_standard_output_and_its_notes_beside_it(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.write("sweep.yaml", "program: train.py\nparameters: {lr: [0.1]}\nrepeats: 3\nmetric: {name: a}\n")
    told = project.command("export", "--wandb")

    assert told.returncode == 0
    assert "values: [0.1]" in told.stdout
    assert told.stderr == "note: repeats: W&B repeats nothing: list seeds, as seeds: [0, 1], for 3 runs each\n"


def test_an_export_to_a_file_tells_the_next_step(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.write("sweep.yaml", "program: train.py\nparameters: {lr: [0.1]}\nmetric: {name: a}\n")
    told = project.command("export", "--wandb", "-o", "wandb.yaml")

    assert told.stdout == "wrote wandb.yaml; start it with: wandb sweep wandb.yaml\n"
    assert (project.path / "wandb.yaml").is_file()
