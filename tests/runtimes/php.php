<?php // Processes, pipes, files and JSON of PHP.
echo shell_exec('echo child');
$process = proc_open(['sh', '-c', 'cat; exit 3'], [['pipe', 'r'], ['pipe', 'w']], $pipes);
fwrite($pipes[0], "through a child\n");
fclose($pipes[0]);
echo stream_get_contents($pipes[1]), proc_close($process), "\n";
$file = tempnam('/tmp', 'osv');
file_put_contents($file, str_repeat('x', 100000));
echo filesize($file), ' ', md5_file($file), "\n";
unlink($file);
echo json_encode(['a' => [1, null, 2.5]]), "\n";
