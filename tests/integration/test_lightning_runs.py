"""Real Lightning, a small model: what the kit and the automatic callbacks record, and how a run resumes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from headway.runtime.cluster import Cluster
from headway.spec.layout import METRIC_FILE_VARIABLE, ContainerLayout, TrainingVariables
from headway.tracking.hypertune_sink import HypertuneSink
from headway.tracking.sinks import Outcome
from headway.tracking.spool import SpoolReader

MODEL = """
import sys
from pathlib import Path
import pytorch_lightning as pl, torch
from torch.utils.data import DataLoader, TensorDataset

class Line(pl.LightningModule):
    def __init__(self, lr=0.1, data=Path("somewhere")):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, _):
        loss = self.layer(batch[0]).pow(2).mean()
        self.log("train_loss", loss)
        return loss
    def validation_step(self, batch, _):
        self.log("val_loss", float(abs(self.current_epoch - 1)))
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

def loader():
    return DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2)

quiet = dict(enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", log_every_n_steps=2)
"""
WITH_KIT = (
    MODEL
    + """
from headway.lightning import kit
trainer = pl.Trainer(**kit(monitor="val_loss", max_epochs=int(sys.argv[1]), **quiet))
print("started at", trainer.current_epoch)
trainer.fit(Line(), loader(), loader())
print("ended at", trainer.current_epoch, trainer.global_step)
again = pl.Trainer(**kit(max_epochs=1, **quiet))
if len(sys.argv) > 2:
    again.fit(Line(), loader(), loader())
    print("second ended at", again.current_epoch, again.global_step)
"""
)
PLAIN = (
    MODEL
    + """
trainer = pl.Trainer(max_epochs=2, **quiet)
trainer.fit(Line(), loader(), loader())
"""
)


class RunFolder:
    """A run's folders, and training processes in them."""

    def __init__(self, root: Path) -> None:
        self.folders = ContainerLayout(root)
        for folder in (self.folders.code, self.folders.checkpoints, self.folders.outputs, self.folders.model):
            folder.mkdir(parents=True)

    def train(self, script: str, *argv: str, resume: Path | None = None) -> str:
        process = self.start(script, *argv, resume=resume)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return said

    def start(
        self,
        script: str,
        *argv: str,
        resume: Path | None = None,
        nodes: int = 1,
        platform: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        (self.folders.code / "train.py").write_text(script)
        variables = {
            **os.environ,
            **(platform or {}),
            TrainingVariables.RUN_ID: "line-1",
            TrainingVariables.CHECKPOINTS: str(self.folders.checkpoints),
            TrainingVariables.OUTPUTS: str(self.folders.outputs),
            TrainingVariables.MODEL: str(self.folders.model),
            TrainingVariables.SPOOL: str(self.folders.spool),
            TrainingVariables.NODES: str(nodes),
            **({TrainingVariables.RESUME: str(resume)} if resume else {}),
        }
        return subprocess.Popen(
            [sys.executable, "train.py", *argv],
            cwd=self.folders.code,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in SpoolReader(self.folders.spool).read() if event["kind"] == kind]

    def reported(self, metric: str) -> list[tuple[int, float]]:
        """Steps and values that a trial of a sweep would report of this run."""
        file = self.folders.root / "output.metrics"
        sink = HypertuneSink(metric, {METRIC_FILE_VARIABLE: str(file)}, self.folders.reported)
        sink.open()
        sink.deliver(SpoolReader(self.folders.spool).read())
        sink.finish(Outcome("finished"))
        reports = [json.loads(line) for line in file.read_text().splitlines()]
        return [(int(report["global_step"]), float(report[metric])) for report in reports]

    def epoch_of(self, checkpoint: Path) -> int:
        return int(torch.load(checkpoint, weights_only=False)["epoch"])


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_the_kit_records_metrics_parameters_checkpoints_and_the_best_model(run: RunFolder) -> None:
    run.train(WITH_KIT, "4")
    losses = [event for event in run.events("metrics") if "train_loss" in event["values"]]
    assert [event["step"] for event in losses] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert losses[-1]["epoch"] == 3
    assert run.reported("val_loss") == [(3, 1.0), (7, 0.0), (11, 1.0), (15, 2.0)]
    assert run.events("params")[0]["values"] == {"lr": 0.1, "data": "somewhere"}
    names = {path.name for path in run.folders.checkpoints.iterdir()}
    assert names == {"last.ckpt", "epoch=1-step=8.ckpt"}
    # val_loss is |epoch - 1|: the second epoch is the best
    assert run.epoch_of(run.folders.model / "model.ckpt") == 1
    assert list(run.folders.outputs.iterdir()) == []


def test_a_checkpoint_callback_of_yours_may_have_the_kits_own_settings(run: RunFolder) -> None:
    yours = "callbacks=[pl.callbacks.ModelCheckpoint(monitor='val_loss', dirpath='mine')], "
    run.train(WITH_KIT.replace("kit(", f"kit({yours}", 1), "1")
    assert [path.name for path in (run.folders.code / "mine").iterdir()] == ["epoch=0-step=4.ckpt"]
    names = {path.name for path in run.folders.checkpoints.iterdir()}
    assert names == {"last.ckpt", "epoch=0-step=4.ckpt"}


def test_a_restarted_run_goes_on_at_its_epoch_and_a_second_trainer_begins_afresh(run: RunFolder) -> None:
    run.train(WITH_KIT, "2")
    said = run.train(WITH_KIT, "5", "second", resume=run.folders.checkpoints / "last.ckpt")
    assert "Restored all states from the checkpoint" in said
    assert "ended at 5 20" in said
    assert "second ended at 1 4" in said
    assert "was called without a model" not in said
    epochs = {event["epoch"] for event in run.events("metrics") if "train_loss" in event["values"]}
    assert epochs == {0, 1, 2, 3, 4}


def test_a_plain_script_is_tracked_and_leaves_its_model(run: RunFolder) -> None:
    run.train(PLAIN)
    losses = [event for event in run.events("metrics") if "train_loss" in event["values"]]
    assert [event["step"] for event in losses][:2] == [2, 4]
    assert {event["step"] for event in run.events("metrics") if "val_loss" in event["values"]} >= {4, 8}
    assert run.reported("val_loss") == [(4, 1.0), (8, 0.0)]
    assert run.events("params")[0]["values"] == {"lr": 0.1, "data": "somewhere"}
    assert run.epoch_of(run.folders.model / "model.ckpt") == 1
    assert list(run.folders.code.glob("lightning_logs/version_0/checkpoints/*.ckpt"))


DISTRIBUTED = (
    MODEL
    + """
from headway.lightning import kit
trainer = pl.Trainer(**kit(max_epochs=2, strategy="ddp", devices=1, **quiet))
trainer.fit(Line(), loader(), loader())
print("rank", trainer.global_rank, "of", trainer.world_size, "ended at", trainer.global_step)
"""
)


def test_two_nodes_train_together_and_one_of_them_records(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hosts = {"workerpool0": [f"127.0.0.1:{port}"], "workerpool1": ["127.0.0.1:1"]}
    nodes, processes = [], []
    for rank, pool in enumerate(hosts):
        variables = {"RANK": str(rank), "WORLD_SIZE": "2"}
        spec = {"cluster": hosts, "task": {"type": pool, "index": 0}}
        Cluster.of({"CLUSTER_SPEC": json.dumps(spec)}).apply(variables)
        nodes.append(RunFolder(tmp_path / pool))
        processes.append(nodes[-1].start(DISTRIBUTED, nodes=2, platform=variables))
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert "rank 0 of 2 ended at 4" in said[0], said[0]
    assert "rank 1 of 2 ended at 4" in said[1], said[1]
    assert nodes[0].events("metrics")
    assert not nodes[1].events("metrics")
    assert (nodes[0].folders.model / "model.ckpt").exists()
    assert list(nodes[1].folders.model.iterdir()) == []
