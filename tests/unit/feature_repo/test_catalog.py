from feature_repo import catalog


def test_feature_names_are_unique_over_all_views_and_request_fields():
    running = [f.name for view in catalog.RUNNING_VIEWS for f in view.features]
    names = [*catalog.MODEL_FEATURES, *(f.name for f in catalog.REQUEST_FIELDS), *running]
    assert len(names) == len(set(names))


def test_no_feature_is_named_like_a_label():
    assert not {"transactions", "units"} & set(catalog.MODEL_FEATURES)


def test_every_feature_has_a_description_and_a_unit():
    for feature in (
        *(f for v in (*catalog.VIEWS, *catalog.RUNNING_VIEWS) for f in v.features),
        *catalog.ON_DEMAND,
        *catalog.REQUEST_FIELDS,
    ):
        assert feature.description, feature.name
        assert feature.unit, feature.name


def test_a_view_is_flagged_old_before_it_is_too_old():
    for view in (*catalog.VIEWS, *catalog.RUNNING_VIEWS):
        assert view.soft_age < view.ttl


def test_the_on_demand_inputs_are_batch_features():
    assert set(catalog.ON_DEMAND_INPUTS) <= set(catalog.BATCH_FEATURES)
