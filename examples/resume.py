"""A run that is interrupted and resumed ends with the same bits as one that was not."""

import tempfile

import torch

import tacit

torch.manual_seed(0)
data = {f"site-{k}": (torch.randn(30, 5) + k / 8, torch.randn(30, 1)) for k in range(8)}
task = tacit.Task(torch.nn.Linear(5, 1), torch.nn.functional.mse_loss)
federation = tacit.Federation(
    task,
    tacit.Population.from_arrays(data),
    tacit.Scaffold(tacit.SGD(lr=0.05, batch_size=8, epochs=2)),  # each client remembers its control variate
    selection=tacit.Uniform(4),
)


class PowerCut(tacit.Callback):
    def on_round_end(self, row):
        if row["round"] == 5:
            raise RuntimeError("the power is gone")


whole = federation.run(rounds=12)
with tempfile.TemporaryDirectory() as folder:
    try:
        federation.run(rounds=12, checkpoint=folder, checkpoint_every=2, callbacks=[PowerCut()])
    except RuntimeError as error:
        print(f"in round 5 {error}; the last checkpoint is of round 4")
    resumed = federation.run(rounds=12, checkpoint=folder, checkpoint_every=2, resume=True)

same = all(torch.equal(whole.tensors[name], resumed.tensors[name]) for name in whole.tensors)
print("the same bits:", same)
