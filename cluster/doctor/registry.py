"""All checks in the order in which they are made. A new one is a function and a line here."""

from __future__ import annotations

from cluster.doctor import builders, card, folder, gpu, load, machine, rollouts, services, update
from cluster.doctor.case import Case, Machine
from cluster.doctor.check import Check

MACHINE: tuple[Check[Machine], ...] = (
    Check("Python", machine.python),
    *(Check(name, machine.package(name)) for name in machine.PACKAGES),
    Check("torch, torchvision, transformers", machine.together),
    Check("cores", machine.cores),
    Check("memory", machine.memory),
    Check("disk", machine.disk),
    Check("shared memory", machine.shared_memory),
    Check("open files", machine.open_files),
    Check("GPU", gpu.devices),
    Check("GPU driver", gpu.driver),
    Check("sandbox", machine.sandbox),
    Check("C++ compiler", builders.compiler),
    Check("ninja", builders.ninja),
    Check("ports", services.ports),
    Check(
        "Ray",
        services.starts_ray,
        needs=("ray", "ports"),
        remedy="start the head, or correct cluster.address; null starts a Ray of the run's own",
    ),
    Check("Ray's token", services.token),
    Check("MLflow", services.mlflow, needs=("mlflow",)),
)

POLICY: tuple[Check[Case], ...] = (
    Check("folder", folder.found),
    Check("config", folder.config, needs=("folder",)),
    Check("weight files", folder.weights, needs=("config",)),
    Check("family's card", card.card, needs=("config",)),
    Check("tokenizer", folder.tokenizer, needs=("config",)),
    Check("chat template", folder.template, needs=("tokenizer",)),
    Check("special ids", folder.special_ids, needs=("tokenizer",)),
    Check("image tokenizer", folder.images, needs=("special ids",)),
    Check("device", load.device),
    Check("output folder", load.output),
    Check("disk", load.disk, needs=("weight files", "output folder")),
    Check("memory to load", load.room, needs=("weight files", "device")),
    Check(
        "load",
        load.policy,
        needs=("weight files", "chat template", "special ids", "image tokenizer", "memory to load"),
    ),
    Check("numbers", load.finite, needs=("load",)),
    Check("forward pass", load.forward, needs=("numbers",)),
    *(
        Check(f"rollout: {task}", rollouts.rollout(task), needs=("forward pass", "output folder"))
        for task in rollouts.TASKS
    ),
    Check("update", update.update, needs=("rollout: text",)),
    Check("first ratios", update.first_ratios, needs=("update",)),
    Check("gradient", update.gradient, needs=("update",)),
    Check("memory and the plan", update.memory, needs=("update",)),
    Check("recipe's plan", update.recipe, needs=("config", "device")),
    Check("speed", update.speed, needs=("update",)),
)
