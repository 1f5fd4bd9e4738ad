// Rooms on Socket.IO over WebSocket alone. Usage: node socketio.mjs PORT; ?room= names a client's room.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false });

io.on('connection', (client) => {
  const room = client.handshake.query.room;
  client.join(room);
  client.on('m', (text) => io.to(room).emit('m', text));
});
http.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
