"""The views of a request: the published views of a protocol with the overrides of the command line."""

from __future__ import annotations

from dataclasses import replace

from harness.cells.backbone import BackboneChoice, overridden, views_for
from harness.cells.request import Request
from harness.data.lists.dataset import Dataset
from harness.spec import Views
from harness.spec.method_spec import OwnModel


def prescribed_views(protocol: Views, dataset: Dataset) -> Views:
    """A protocol's views on a dataset: with the reader `exact` where no number was published.

    decord is the published reader. It returns other frames on many files that users have, such as HEVC, MPEG-TS and
    H.264 in AVI, and no published number of a custom dataset depends on it.
    """
    return replace(protocol, reader="exact") if dataset.kind == "custom" else protocol


class RequestedViews:
    """Views with the overrides of a request, each computed once per published views and backbone."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._views: dict[tuple[Views, BackboneChoice | OwnModel, bool], Views] = {}

    def requested(self, published: Views, backbone: BackboneChoice | OwnModel) -> Views:
        """Published views with the overrides of `--views`.

        Raises:
            UserError: An override is unknown or not valid.
        """
        key = published, backbone, False
        if key not in self._views:
            self._views[key] = views_for(published, backbone, self._request.views)
        return self._views[key]

    def evaluated(self, published: Views, backbone: BackboneChoice | OwnModel) -> Views:
        """Published views with the overrides of `--views` and `--eval-views`.

        Raises:
            UserError: An override is unknown or not valid.
        """
        key = published, backbone, True
        if key not in self._views:
            # Not `views_for`: the backbone's own number of frames would replace the requested one.
            requested = self.requested(published, backbone)
            self._views[key] = overridden(requested, backbone, self._request.eval_views)
        return self._views[key]

    def of_training(self, published: Views, backbone: BackboneChoice | OwnModel) -> Views:
        """The single view of a training clip: clips, crops and their sampling are settings of evaluation."""
        return self.requested(published, backbone).training
