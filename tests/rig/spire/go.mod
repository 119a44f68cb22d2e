module countersign.test/rig/spire

go 1.26
