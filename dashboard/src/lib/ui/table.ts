// Owns what a column of a Table is.
export interface Column {
  /** Told to the `cell` snippet. */
  readonly name: string;
  readonly title: string;
  /** Right-aligned figures. */
  readonly isNumber?: boolean;
  /** The title is read aloud but not drawn, as over actions. */
  readonly isUntitled?: boolean;
  readonly width?: string;
  /** On a phone: on the first line at the right, or left out. Otherwise it stands on the second line with its title. */
  readonly onPhone?: 'aside' | 'off';
}
