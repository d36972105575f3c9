-- POSTGRES_DB makes poplift_registry; these are the other two. Run once, when the volume is empty.
CREATE DATABASE poplift_mlflow OWNER poplift;
CREATE DATABASE poplift_prefect OWNER poplift;
