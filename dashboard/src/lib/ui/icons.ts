// Owns the drawings: each is the inside of a 16 by 16 SVG, drawn with strokes in the text's colour.
export const icons = {
  now: 'M1.5 8.5h3l2-5.5 3 10 2-4.5h3',
  jobs: 'M2 4h2M6.5 4H14M2 8h2M6.5 8H14M2 12h2M6.5 12H14',
  tasks: 'M3 2.5h10v11H3zM5.5 6l1.8 2-1.8 2M8.5 10.5h2.5',
  schedules: 'M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 4.8V8l2.3 1.6',
  queues: 'M2 3h12M2 6.5h12M4 10h8M6 13.5h4',
  workers: 'M4 4h8v8H4zM6 1.5V4M10 1.5V4M6 12v2.5M10 12v2.5M1.5 6H4M1.5 10H4M12 6h2.5M12 10h2.5',
  incidents: 'M8 2 14.5 13.5h-13zM8 6.5v3.5M8 11.8v.2',
  access: 'M6 10.5a3.5 3.5 0 1 1 2.4-6 3.5 3.5 0 0 1 .9 3L14.5 12.7V14.5h-2.5v-2h-2L8.2 10.4',
  system: 'M2 2.5h12v4.5H2zM2 9h12v4.5H2zM4.5 4.8h.1M4.5 11.2h.1',
  playground: 'M5 4 1.5 8 5 12M11 4l3.5 4L11 12M9.3 2.5 6.7 13.5',
  more: 'M3.5 8h.1M8 8h.1M12.5 8h.1',
  copy: 'M5.5 5.5V2.5h8v8h-3M2.5 5.5h8v8h-8z',
  done: 'M3 8.5 6.5 12 13 4.5',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  search: 'M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.3 10.3 14 14',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  keys: 'M1.5 4h13v8h-13zM4 6.5h.1M6.7 6.5h.1M9.3 6.5h.1M12 6.5h.1M4.5 9.7h7',
  sun: 'M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  moon: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z',
  screen: 'M1.5 3h13v8.5h-13zM5.5 14h5',
  out: 'M6 2.5H2.5v11H6M7 8h7M11 5l3 3-3 3',
} as const;

export type IconName = keyof typeof icons;
