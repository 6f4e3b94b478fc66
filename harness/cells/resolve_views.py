"""The views of a request: the published views of a protocol with the overrides of the command line."""

from __future__ import annotations

from harness.cells.backbone import BackboneChoice, overridden, views_for
from harness.cells.request import Request
from harness.spec import Views
from harness.spec.method_spec import OwnModel


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
        views = self.requested(published, backbone)
        return views.single
