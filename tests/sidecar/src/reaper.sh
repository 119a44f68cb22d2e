# Ends what a test process leaves behind, however it ends: its end closes the pipe that is read here.
trap '' INT TERM HUP
processes=' '
folders=
while IFS=' ' read -r what value; do
    case $what in
    process) processes="$processes$value " ;;
    ended) processes="${processes%% "$value" *} ${processes#* "$value" }" ;;
    folder) folders="$folders$value
" ;;
    left) folders=$(printf '%s' "$folders" | grep -vxF -e "$value")
        folders="${folders:+$folders
}" ;;
    esac
done
for process in $processes; do kill -KILL "$process" 2>/dev/null; done
printf '%s' "$folders" | while IFS= read -r folder; do rm -rf "$folder"; done
