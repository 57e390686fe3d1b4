package detached

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// drainTime bounds how long the shim reads on after the last process of a run
// is gone, should somebody else hold the pipe.
const drainTime = time.Second

// output is where the command writes to: a file, or a pipe that this process
// reads into a file that it rotates.
type output struct {
	streams []*stream // standard output, and standard error where it has its own
	pumps   sync.WaitGroup
}

// stream is one of them.
type stream struct {
	child *os.File // the command's end; nil once it was started
	read  *os.File // the shim's end; nil without rotation
	to    io.WriteCloser
	file  string
	keep  int
}

func openOutput(dir string, log Log) (*output, error) {
	if log.File == "" {
		log.File = filepath.Join(dir, logFile)
	}
	o := &output{}
	for _, file := range []string{log.File, log.Errors} {
		if file == "" {
			continue
		}
		s, err := openStream(file, log)
		if err != nil {
			return nil, err
		}
		o.streams = append(o.streams, s)
	}
	return o, nil
}

func openStream(file string, log Log) (*stream, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil || log.MaxSize <= 0 {
		return &stream{child: f}, err
	}
	_ = f.Close() // it can be written
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	to := &lumberjack.Logger{Filename: file, MaxSize: log.MaxSize, MaxBackups: max(1, log.Keep)}
	return &stream{child: w, read: r, to: to, file: file, keep: to.MaxBackups}, nil
}

// files are the command's ends.
func (o *output) files() (stdout, stderr *os.File) {
	return o.streams[0].child, o.streams[len(o.streams)-1].child
}

// begun closes this process's copies of the command's ends and starts to
// read.
func (o *output) begun() {
	for _, s := range o.streams {
		_ = s.child.Close()
		if s.read != nil {
			o.pumps.Go(s.pump)
		}
	}
}

// pump reads to the end whatever becomes of the file: a full disk loses
// output, it does not stop the command.
func (s *stream) pump() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.read.Read(buf)
		if n > 0 {
			_, _ = s.to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// close reads what is left and closes the files.
func (o *output) close() {
	for _, s := range o.streams {
		if s.read != nil {
			_ = s.read.SetReadDeadline(time.Now().Add(drainTime))
		}
	}
	o.pumps.Wait()
	for _, s := range o.streams {
		if s.to != nil {
			_ = s.to.Close()
			s.prune()
		}
	}
}

// prune removes what the rotation, which does so in the background, has not
// come to.
func (s *stream) prune() {
	files := rotated(s.file)
	for _, old := range files[min(s.keep, len(files)):] {
		_ = os.Remove(old) // or it has, meanwhile
	}
}
