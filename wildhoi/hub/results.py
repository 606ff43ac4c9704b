"""Results as the Hub reads them: `.eval_results/*.yaml` files, and the `model-index` of a model's card."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RESULTS_FILE = ".eval_results/wildhoi.yaml"
TASK = "image-to-3d"
TASK_NAME = "Monocular human-object 3D reconstruction"
TAGS = ("human-object-interaction", "3d-reconstruction", "wildhoi")


@dataclass(frozen=True)
class Result:
    """One number of a submission.

    Attributes:
        metric: its identifier, `translation` or `recall_mssd`.
        name: as people read it, with unit and direction.
        value: at full precision.
        task: the identifier of the benchmark's task that it answers.
    """

    metric: str
    name: str
    value: float
    task: str


@dataclass(frozen=True)
class Evaluation:
    """The numbers of a submission under a protocol: of which method and data, with what a reader must know."""

    method: str
    dataset: str
    dataset_name: str
    split: str
    revision: str
    notes: str
    results: tuple[Result, ...]


def eval_results(evaluation: Evaluation) -> str:
    """The content of a `.eval_results/*.yaml` file of a model's repository."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    entries = [
        EvalResultEntry(
            dataset_id=evaluation.dataset,
            task_id=result.task,
            value=result.value,
            dataset_revision=evaluation.revision,
            notes=f"{result.name}; {evaluation.notes}",
        )
        for result in evaluation.results
    ]
    return str(yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False))


def model_index(evaluation: Evaluation) -> str:
    """The `model-index` block of a model's card."""
    from huggingface_hub.repocard_data import eval_results_to_model_index
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    index = eval_results_to_model_index(evaluation.method, _results(evaluation))
    return str(yaml_dump({"model-index": index}, sort_keys=False))


def card_head(datasets: Sequence[str], evaluation: Evaluation | None) -> str:
    """The head of a model's card, between its two lines of dashes; results only where there are some."""
    from huggingface_hub import ModelCardData

    known: dict[str, Any] = {"datasets": list(datasets), "tags": list(TAGS), "pipeline_tag": TASK}
    if evaluation is not None:
        known |= {"model_name": evaluation.method, "eval_results": _results(evaluation)}
    data = ModelCardData(**known)
    return f"---\n{data.to_yaml()}\n---\n"


def _results(evaluation: Evaluation) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=TASK,
            task_name=TASK_NAME,
            dataset_type=evaluation.dataset,
            dataset_name=evaluation.dataset_name,
            dataset_split=evaluation.split,
            dataset_revision=evaluation.revision,
            metric_type=result.metric,
            metric_name=result.name,
            metric_value=result.value,
            metric_args={"notes": evaluation.notes},
        )
        for result in evaluation.results
    ]
