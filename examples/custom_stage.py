"""A stage of your own: a norm bound that follows the median update [Andrew21] arXiv:1905.03871, without noise."""

from dataclasses import dataclass

import torch

import tacit


@dataclass(frozen=True)
class MedianBound:
    start: float
    takes, gives, additive = "real", "real", True

    def bind(self, layout):
        return layout.extend("within")

    def init(self):
        return {"limit": torch.tensor(self.start)}

    def broadcast(self, state):
        return state

    def encode(self, report, layout, down):
        update, weight = report[..., layout["update"]], report[..., layout["weight"]]
        norm, limit = update.norm(dim=-1, keepdim=True), down["limit"] * weight
        update.mul_((limit / norm).clamp(max=1))
        return torch.cat([report, weight * (norm <= limit)], dim=-1)  # one bit a client, in the same sum

    def decode(self, total, layout, state):
        within = total[-1] / total[layout["weight"]][0]
        return total[:-1], {"limit": (state["limit"] * torch.exp(-0.2 * (within - 0.5))).float()}


torch.manual_seed(0)
data = {k: (torch.randn(20, 4), torch.randn(20, 1) + (100 if k == 0 else 1)) for k in range(10)}  # one is absurd
clients, task = tacit.Population.from_arrays(data), tacit.Task(torch.nn.Linear(4, 1), torch.nn.functional.mse_loss)
for stages in ((), (MedianBound(0.1),)):
    run = tacit.Federation(task, clients, tacit.FedAvg(tacit.SGD(lr=0.1)), stages=stages).run(60)
    print(f"bias {run.model.bias.item():.2f} with", stages or "no stage")
