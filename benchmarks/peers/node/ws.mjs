// Rooms on `ws`, as its documentation shows a broadcast. Usage: node ws.mjs PORT; ?room= names a client's room.
import { WebSocketServer } from 'ws';

const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false });

server.on('connection', (client, request) => {
  const name = new URL(request.url, 'http://x').searchParams.get('room');
  const room = rooms.get(name) ?? new Set();
  rooms.set(name, room.add(client));
  client.on('message', (data, isBinary) => {
    for (const member of room) if (member.readyState === 1) member.send(data, { binary: isBinary });
  });
  client.on('close', () => room.delete(client));
  client.on('error', () => client.terminate());
});
server.on('listening', () => console.log('listening'));
