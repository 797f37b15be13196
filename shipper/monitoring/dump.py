"""What SIGCONT prints: how inputs, tasks and storage are, drawn as Fluent Bit draws it."""

from __future__ import annotations

from .pages import size_text
from .view import SeenInput, View, chunks_of, storage_numbers


def render_dump(view: View) -> str:
    """The text without the line that says when it was taken."""
    lines = ["", "===== Input ====="]
    for seen in view.inputs:
        lines += [*_input_lines(seen, view), ""]
    return "\n".join([*lines, *_storage_lines(view), ""])


def _input_lines(seen: SeenInput, view: View) -> list[str]:
    state, chunks = seen.buffer.statistics(), chunks_of(seen, view)
    busy = [output.dispatcher.statistics().busy.get(seen.name, (0, 0)) for output in view.outputs]
    tasks, size = sum(count for count, _ in busy), sum(size for _, size in busy)
    return [
        f"{seen.name} ({seen.plugin})",
        "│",
        "├─ status",
        f"│  └─ overlimit     : {'yes' if state.is_full else 'no'}",
        f"│     ├─ mem size   : {_size(state.memory)}",
        f"│     └─ mem limit  : {_size(seen.mem_buf_limit)}",
        "│",
        "├─ tasks",
        f"│  ├─ total tasks   : {tasks}",
        "│  ├─ new           : 0",
        f"│  ├─ running       : {tasks}",
        f"│  └─ size          : {_size(size)}",
        "│",
        "└─ chunks",
        f"   └─ total chunks  : {chunks.total}",
        f"      ├─ up chunks  : {chunks.up}",
        f"      ├─ down chunks: {chunks.down}",
        f"      └─ busy chunks: {chunks.busy}",
        f"         ├─ size    : {_size(chunks.busy_size)}",
        "         └─ size err: 0",
    ]


def _storage_lines(view: View) -> list[str]:
    numbers = storage_numbers(view)
    return [
        "===== Storage Layer =====",
        f"total chunks     : {numbers['total_chunks']}",
        f"├─ mem chunks    : {numbers['mem_chunks']}",
        f"└─ fs chunks     : {numbers['fs_chunks']}",
        f"   ├─ up         : {numbers['fs_chunks_up']}",
        f"   └─ down       : {numbers['fs_chunks_down']}",
    ]


def _size(size: int) -> str:
    return f"{size_text(size)} ({size} bytes)"
