module countersign.test/rig/pause

go 1.26
