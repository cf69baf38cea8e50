"""Dispatch: starts and watches workers, through submitit. What a worker does is not its business."""
